"""HuBERT-Large from torchaudio's pipelines: the paper's WER-H from one file of weights, without another package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torchaudio
from torch import Tensor

from melle.devices import find_device
from melle.errors import UserError, reason
from melle.evaluation.asr import Transcript
from melle.evaluation.clips import transcribe_clips
from melle.evaluation.normalisers import make_normaliser
from melle.evaluation.wer import import_jiwer

BLANK = 0  # the first label: no letter
FILE = "hubert_fairseq_large_ll60k_asr_ls960.pth"
SOURCE = f"download https://download.pytorch.org/torchaudio/models/{FILE} and give it by weights=FILE"


class HubertPipelineAsr:
    """``torchaudio.pipelines.HUBERT_ASR_LARGE``, fine-tuned on LibriSpeech; decoding is greedy, without a lexicon.

    Args:
        weights: the pipeline's file ``FILE``, as downloaded; None lets torchaudio fetch it (1.2 GB)
            into torch's own folder.
        device: "auto", "cpu", "cuda", …  normaliser: of ``melle.evaluation.normalisers``.
    """

    name = "hubert-large"

    def __init__(self, weights: str | Path | None = None, device: str = "auto", normaliser: str = "english"):
        import_jiwer()
        self.normalise = make_normaliser(normaliser)
        self.settings = {"weights": weights and str(weights), "normaliser": normaliser}
        self.device = find_device(device, "device=")
        bundle = torchaudio.pipelines.HUBERT_ASR_LARGE
        self.labels = bundle.get_labels()
        self.rate = int(bundle.sample_rate)
        # torch.hub fetches nothing where the file is there already, so the pipeline itself may read a file of ours: it
        # takes out the outputs that belong to no letter, and puts its normalisation of the waveform before the model.
        options = {"map_location": "cpu", "weights_only": True}
        if weights is not None:
            path = Path(weights).expanduser()
            if not path.is_file():
                raise UserError(f"weights={weights}: there is no such file; {SOURCE}")
            options |= {"model_dir": str(path.parent), "file_name": path.name}
        try:
            self.model = bundle.get_model(dl_kwargs=options).to(self.device)
        except Exception as error:  # of many kinds: no network, a download broken off, another model's weights
            given = "HuBERT" if weights is None else f"weights={weights}"
            raise UserError(f"{given}: cannot be loaded ({reason(error)}); {SOURCE}") from None

    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        # One at a time: the pipeline normalises a batch as a whole.
        return transcribe_clips(waveforms, sample_rate, self.rate, 1, self._recognise)

    @torch.inference_mode()
    def _recognise(self, clips: list[Tensor]) -> list[str]:
        return [self._read(self.model(clip[None].to(self.device))[0][0].argmax(1)) for clip in clips]

    def _read(self, best: Tensor) -> str:
        """Labels (frames,) to text: repeated ones are one, and the blank, which parts true repetitions, is none."""
        kept = (self.labels[label] for label in best.unique_consecutive().tolist() if label != BLANK)
        return "".join(kept).replace("|", " ").strip()
