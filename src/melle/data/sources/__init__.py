"""Published corpora, as ``python -m melle prepare NAME`` has them: the class of each in this room, and what it is."""

CORPORA = {
    "librispeech": ("librispeech.LibriSpeech", "960 hours of audiobooks, 2338 readers; 60 GB"),
    "libritts": ("librispeech.LibriTTS", "585 hours of audiobooks in sentences; 80 GB"),
    "libritts-r": ("librispeech.LibriTTSR", "LibriTTS with its sound restored; 80 GB"),
    "ljspeech": ("ljspeech.LJSpeech", "24 hours of one reader; 2.6 GB"),
    "vctk": ("vctk.VCTK", "44 hours of 110 speakers, split by speaker; 11 GB"),
    "mls": ("mls.MLS", "audiobooks in eight languages, 100 to 45000 hours each; German: 115 GB"),
    "fsdd": ("fsdd.FSDD", "3000 spoken digits of 6 speakers; 16 MB"),
}
