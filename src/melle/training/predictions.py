"""What a model makes of recordings, frame by frame: a vocoder that learns from it fits that model's frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from melle.audio import LogMel
from melle.data.batch import Row, collate
from melle.data.build_features import FeatureReport, fill_store
from melle.data.features import FeatureStore
from melle.data.manifest import Utterance
from melle.errors import DataError, UserError
from melle.files import digest, file_stamp
from melle.pretrained import fetched, load_pretrained, read_description
from melle.text import marks_of


def predict_manifests(
    manifests: Sequence[str | Path], checkpoint: str | Path, folder: str | Path, workers: int | None = None
) -> FeatureReport:
    """Keep in ``folder`` what the model predicts of every recording of the manifests, in step with its samples.

    It goes on where an earlier run stopped; see ``build_features``. Raises UserError where ``folder`` holds what
    another model predicted.
    """
    where = fetched(checkpoint)
    description, step = read_description(where)
    store = FeatureStore(folder, description.mel, predicted=True)
    model = f"{checkpoint}, step {step}, {digest(file_stamp(where))}"
    return fill_store(store, partial(Predictor, where), manifests, workers, model)


class Predictor:
    """Refined frames y'' of recordings: each step predicted from the true frames before it, as in training."""

    def __init__(self, checkpoint: Path):
        self.model = load_pretrained(checkpoint)
        self.log_mel = LogMel(self.model.description.mel)

    @torch.inference_mode()
    def __call__(self, utterance: Utterance, waveform: Tensor) -> Tensor:
        """log10 mel (T, M), as many frames as the waveform (N,) has. Raises DataError for a text of no use."""
        network, tokenizer = self.model.network, self.model.description.tokenizer
        mel = self.log_mel(waveform)
        try:
            row = Row([tokenizer.encode(utterance.transcription, strict=True)], [mel], [utterance.id])
        except UserError as error:
            raise DataError("unknown text", str(error)) from None
        batch = collate([row], network.reduction_factor, network.n_mels, marks_of(tokenizer))
        torch.manual_seed(0)  # of the latent and of the pre-net's dropout: a run that goes on makes the same
        output = network(**batch.inputs(), **batch.sizes())
        return network.denormalise(output.refined)[0, : len(mel)].clamp(min=math.log10(self.log_mel.spec.floor))
