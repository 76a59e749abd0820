"""Any speech recogniser of transformers: HuBERT, as in the paper's WER-H, wav2vec 2.0, WavLM, Whisper, Moonshine, …"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from melle.devices import find_device
from melle.errors import UserError, reason
from melle.evaluation.asr import Transcript
from melle.evaluation.clips import SHORTEST, check_batch_size, transcribe_clips
from melle.evaluation.normalisers import make_normaliser
from melle.evaluation.wer import import_jiwer

DTYPES = ("float32", "bfloat16", "float16")
# Kinds of CTC models whose attention masks keep the padding out of everything, if they normalise every frame by itself
# ("layer"). Others convolve it or average over it: what they hear would depend on what shares the batch.
MASKED = ("hubert", "wav2vec2", "wavlm")


class TransformersAsr:
    """A CTC model, decoded greedily, or a sequence-to-sequence one, which generates as it is set to, but never samples.

    Args:
        model: hub name or local folder, with the weights, the feature extractor and the tokenizer.
        device: "auto", "cpu", "cuda", …  dtype: of the weights, "float32", "bfloat16" or "float16".
        batch_size: clips listened to at a time, by models for which this changes nothing; others hear every clip by
            itself.
        language: spoken language, for a multilingual Whisper; None lets it find out.
        normaliser: of ``melle.evaluation.normalisers``.
    """

    def __init__(
        self,
        model: str = "facebook/hubert-large-ls960-ft",
        device: str = "auto",
        batch_size: int = 8,
        language: str | None = None,
        normaliser: str = "english",
        dtype: str = "float32",
    ):
        try:
            import transformers  # noqa: F401
        except ImportError:
            raise UserError('this recogniser needs transformers: python -m pip install -e ".[eval]"') from None
        import_jiwer()
        check_batch_size(batch_size)
        if dtype not in DTYPES:
            raise UserError(f"dtype={dtype}: choose one of {', '.join(DTYPES)}")
        self.normalise = make_normaliser(normaliser)
        self.name = Path(model).name
        self.settings = {"model": str(model), "language": language, "dtype": dtype, "normaliser": normaliser}
        self.device, self.dtype, self.language = find_device(device, "device="), getattr(torch, dtype), language
        try:
            self.model, self.is_ctc = _load_model(model)
            self.extractor, self.tokenizer = _load_processor(model)
        except UserError:
            raise
        except Exception as error:  # of many kinds: broken JSON and weights, no network, packages of a tokenizer
            raise UserError(
                f"model={model}: the recogniser cannot be loaded ({reason(error)}); give a local folder by model=FOLDER"
            ) from None
        self.model.to(self.device, self.dtype).eval()
        self.rate = self.extractor.sampling_rate
        config = self.model.config
        masked = (
            self.is_ctc
            and config.model_type in MASKED
            and config.feat_extract_norm == "layer"
            and not getattr(config, "add_adapter", False)
            and self.extractor.return_attention_mask
        )
        self.batch_size = batch_size if masked else 1

    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        recognise = self._recognise if self.is_ctc else self._generate
        return transcribe_clips(waveforms, sample_rate, self.rate, self.batch_size, recognise)

    @torch.inference_mode()
    def _recognise(self, clips: list[Tensor]) -> list[str]:
        """Texts by CTC: the best label of every frame; the tokenizer joins the repeated ones and drops the blank."""
        best = self.model(**self._features(clips)).logits.argmax(2)
        if len(clips) == 1:
            return [self.tokenizer.decode(best[0].tolist())]
        return [self.tokenizer.decode(row[: self._frames(len(clip))].tolist()) for row, clip in zip(best, clips)]

    @torch.inference_mode()
    def _generate(self, clips: list[Tensor]) -> list[str]:
        return [self._generate_one(clip) for clip in clips]

    def _generate_one(self, clip: Tensor) -> str:
        """The text of a clip, in windows where the feature extractor would cut it off: Whisper's does, at 30 s."""
        window = getattr(self.extractor, "n_samples", len(clip))
        parts = [part for part in clip.split(window) if len(part) >= SHORTEST * self.rate]
        texts = []
        for part in parts:
            # As many tokens as anyone speaks in that time: a decoder that has got into a loop would go on. (Whisper
            # warns at every clip where this is given as max_new_tokens.)
            longest = 10 + math.ceil(10 * len(part) / self.rate)
            longest = min(longest, getattr(self.model.config, "max_target_positions", longest))
            made = self.model.generate(
                **self._features([part]), do_sample=False, max_length=longest, **self._language_options()
            )
            texts.append(self.tokenizer.decode(made[0].tolist(), skip_special_tokens=True).strip())
        return " ".join(texts).strip()

    def _language_options(self) -> dict[str, str]:
        if self.language is None or not getattr(self.model.generation_config, "is_multilingual", False):
            return {}
        return {"language": self.language, "task": "transcribe"}

    def _features(self, clips: list[Tensor]) -> Any:
        """What the model takes; padded, with a mask, only where there are several."""
        options = {"padding": True, "return_attention_mask": True} if len(clips) > 1 else {}
        waveforms = [clip.numpy() for clip in clips]
        features = self.extractor(waveforms, sampling_rate=self.rate, return_tensors="pt", **options)
        return features.to(self.device, self.dtype)

    def _frames(self, samples: int) -> int:
        """Frames that the model makes of so many samples; those after them are of the padding."""
        for kernel, stride in zip(self.model.config.conv_kernel, self.model.config.conv_stride):
            samples = (samples - kernel) // stride + 1
        return samples


def _load_model(name: str) -> tuple[Any, bool]:
    """The model, and whether it is a CTC one."""
    from transformers import (
        MODEL_FOR_CTC_MAPPING,
        MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
        AutoConfig,
        AutoModelForCTC,
        AutoModelForSpeechSeq2Seq,
    )

    config = AutoConfig.from_pretrained(name)
    is_ctc = type(config) in MODEL_FOR_CTC_MAPPING
    if not is_ctc and not (type(config) in MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING and config.is_encoder_decoder):
        raise UserError(f"model={name}: a {config.model_type}, which is no speech recogniser by CTC or encoder-decoder")
    maker = AutoModelForCTC if is_ctc else AutoModelForSpeechSeq2Seq
    model, found = maker.from_pretrained(name, output_loading_info=True)
    # Not learned by recognisers, or told to be missing by some releases after they have renamed it.
    spared = ("masked_spec_embed", "pos_conv_embed")
    missing = [key for key in found["missing_keys"] if not any(part in key for part in spared)]
    if missing:
        raise UserError(f"model={name}: has no {min(missing)}; give one that was fine-tuned for speech recognition")
    return model, is_ctc


def _load_processor(name: str) -> tuple[Any, Any]:
    """Feature extractor and tokenizer, together where they were saved so, else each by itself."""
    from transformers import AutoFeatureExtractor, AutoProcessor, AutoTokenizer

    try:
        processor = AutoProcessor.from_pretrained(name)
        return processor.feature_extractor, processor.tokenizer
    except Exception:  # none there, one of its parts alone, or a language model's package is missing
        return AutoFeatureExtractor.from_pretrained(name), AutoTokenizer.from_pretrained(name)
