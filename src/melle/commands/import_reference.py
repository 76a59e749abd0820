"""``python -m melle import-reference``: a checkpoint of the reference implementation becomes one of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from melle.options import option

if TYPE_CHECKING:
    from melle.reference import Pace
    from melle.text import Tokenizer

MOST = 200  # utterances that a calibration reads


@dataclass
class Import:
    checkpoint: Path = option(..., "the reference's file")
    output: Path | None = option(None, "the file to write; default: as the checkpoint, with the ending .ckpt", "-o")
    tokenizer: str = option(..., "the Hugging Face tokenizer: folder, or hf://USER/MODEL")
    args: Path | None = option(None, "the run's flags; default: args.json beside the checkpoint")
    text: str | None = option(
        None, "llama: <s> and </s> around texts | qwen: no marks, ids shifted; default: by the tokenizer"
    )
    keep_case: bool = option(False, "texts as they are given; default: in upper case, as LibriSpeech's")
    calibrate: Path | None = option(None, "manifest of a few utterances, by whose pace unprompted speech is guarded")
    heads: int | None = option(None, "attention heads; default: 16")
    activation: str | None = option(None, "relu, silu or tanh, of the Transformer blocks; default: by the flags")
    prenet_activation: str | None = option(None, "of the pre-net; default: by the flags")
    postnet_activation: str | None = option(None, "of the post-net and the latent; default: by the flags")

    def run(self) -> None:
        """Write a checkpoint of ours with the reference's weights, and print what was taken from where."""
        from melle.reference import PUBLISHED, import_reference, open_text

        output = self.output or self.checkpoint.with_suffix(".ckpt")
        text = open_text(self.tokenizer, self.text, not self.keep_case)
        pace = None if self.calibrate is None else measure(self.calibrate, text.tokenizer)
        given = {name: getattr(self, name) for name in PUBLISHED}
        network, sources = import_reference(self.checkpoint, output, text, self.args, pace, **given)
        for source in sources:
            print(f"  {source.name:<20} {source.value!s:<34} {source.taken_from}")
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        print(
            f"{output}: {millions:.1f} million parameters, r = {network.reduction_factor}, {network.position} positions"
        )


def measure(manifest: Path, tokenizer: Tokenizer) -> Pace:
    """The pace of up to ``MOST`` utterances of a manifest. Raises UserError where none can be read."""
    import numpy as np

    from melle.audio import LogMel, load_audio, speech_level
    from melle.data.manifest import read_valid
    from melle.data.silence import speech_frames
    from melle.data.statistics import range_of_lengths
    from melle.errors import UserError
    from melle.reference import Pace

    log_mel = LogMel()
    mels, tokens = [], []
    for utterance in read_valid(manifest)[:MOST]:
        tokens.append(len(tokenizer.encode(utterance.transcription)))
        mels.append(log_mel(load_audio(utterance.audio_path, log_mel.spec.sample_rate)))
    if not mels:
        raise UserError(f"{manifest}: no utterance can be read; give a manifest of a few")
    spoken = [speech_frames(mel, log_mel.spec) for mel in mels]
    mean = sum(spoken) / sum(tokens)
    # A few utterances do not show how much they vary.
    lengths, paces = (
        (min(0.7, shortest), max(1.5, longest))
        for shortest, longest in (
            range_of_lengths(frames, tokens, mean) for frames in ([len(mel) for mel in mels], spoken)
        )
    )
    level = float(np.median([speech_level(mel) for mel in mels]))
    return Pace(mean, lengths, f"{len(mels)} utterances of {manifest}", level, paces)
