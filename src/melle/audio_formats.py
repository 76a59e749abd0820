"""Sound files by their endings; without torch, so that the command line knows them at once."""

# What FFmpeg decodes and libsndfile does not, as telephones and the web have it.
COMPRESSED = (".m4a", ".aac", ".mp4", ".amr", ".3gp", ".wma", ".webm", ".mka", ".mov")
OPEN = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")  # libsndfile's
AUDIO = (*OPEN, *COMPRESSED)
