"""Any speech recogniser of Hugging Face's transformers: HuBERT (the paper's WER-H), Whisper, Moonshine, …"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from melle.devices import find_device
from melle.errors import UserError
from melle.evaluation.judges.base import Recogniser, Transcript, samples_at
from melle.evaluation.judges.loading import from_pretrained, load_complete, loading, packages_of
from melle.hub import cached_revision, title_of

DTYPES = ("float32", "bfloat16", "float16")
SHORTEST = 0.1  # seconds; nobody says a word in less, and models fail on less than their first frame


@dataclass(eq=False)
class HfRecogniser(Recogniser):
    """A CTC model, decoded greedily, or an encoder-decoder, which generates as it is set to but never samples.

    Clips are recognised one at a time: with most models padding would change the transcripts.
    """

    packages = ("transformers", "torch")
    model: str  # "hf://USER/MODEL@REVISION" or a local folder, with weights, feature extractor and tokenizer
    device: str = "auto"  # "auto", "cpu", "cuda", …
    language: str | None = None  # spoken language, for a multilingual Whisper; None: it finds out
    dtype: str = "float32"  # of the weights, of ``DTYPES``

    def __post_init__(self) -> None:
        with packages_of("eval", "this recogniser"):
            import transformers
        super().__post_init__()
        if self.dtype not in DTYPES:
            raise UserError(f"dtype={self.dtype}: choose one of {', '.join(DTYPES)}")
        self.name = title_of(self.model)
        where, dtype = from_pretrained(self.model), getattr(torch, self.dtype)
        self.device = find_device(self.device, "device=")
        with loading(f"model={self.model}", "give a local folder by model=FOLDER"):
            network, self.is_ctc = _load(where, f"model={self.model}")
            self.pipeline = transformers.pipeline(
                "automatic-speech-recognition",
                model=network.to(dtype),
                tokenizer=transformers.AutoTokenizer.from_pretrained(**where),
                feature_extractor=transformers.AutoFeatureExtractor.from_pretrained(**where),
                device=self.device,
                dtype=dtype,
            )
        self.rate = self.pipeline.feature_extractor.sampling_rate
        self.revision = cached_revision(self.model)

    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        for waveform in waveforms:
            samples = samples_at(waveform, sample_rate, self.rate)
            # Whisper's feature extractor would cut a clip off at 30 s.
            window = getattr(self.pipeline.feature_extractor, "n_samples", max(len(samples), 1))
            parts = [part for part in samples.split(window) if len(part) >= SHORTEST * self.rate]
            yield Transcript(" ".join(self._recognise(part) for part in parts).strip())

    def _recognise(self, samples: Tensor) -> str:
        options = {} if self.is_ctc else {"generate_kwargs": self._generation(len(samples) / self.rate)}
        return self.pipeline({"raw": samples.numpy(), "sampling_rate": self.rate}, **options)["text"].strip()

    def _generation(self, seconds: float) -> dict[str, Any]:
        """As many tokens as anyone speaks in that time: a decoder that has got into a loop would go on."""
        config = self.pipeline.model.generation_config
        most = 10 + math.ceil(10 * seconds)
        options: dict[str, Any] = {
            "do_sample": False,
            "num_beams": getattr(config, "num_beams", None) or 1,  # else the pipeline's own 5
            "max_length": min(most, getattr(self.pipeline.model.config, "max_target_positions", most)),
            "max_new_tokens": None,
        }
        if self.language and getattr(config, "is_multilingual", False):
            options |= {"language": self.language, "task": "transcribe"}
        return options


def _load(where: dict[str, str], option: str) -> tuple[Any, bool]:
    """The network, and whether it is a CTC one. Raises UserError for another kind and for missing weights."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(**where)
    is_ctc = type(config) in transformers.MODEL_FOR_CTC_MAPPING
    is_decoder = type(config) in transformers.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING and config.is_encoder_decoder
    if not is_ctc and not is_decoder:
        raise UserError(f"{option}: a {config.model_type}, which is no speech recogniser by CTC or encoder-decoder")
    kind = transformers.AutoModelForCTC if is_ctc else transformers.AutoModelForSpeechSeq2Seq
    return load_complete(kind, where, option, "one that was fine-tuned for speech recognition"), is_ctc
