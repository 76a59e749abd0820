"""What a model makes of recordings, frame by frame: a vocoder that learns from it fits that model's frames."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from melle.audio import LogMel
from melle.checkpoint import LoadedModel
from melle.data.batch import Row, collate
from melle.data.build_features import FeatureReport, fill_store
from melle.data.features import FeatureStore
from melle.data.manifest import Utterance
from melle.errors import DataError, UserError
from melle.files import digest
from melle.pretrained import fetched, load_pretrained
from melle.synthesis.options import DecodingOptions
from melle.text import marks_of


def predict_manifests(
    manifests: Sequence[str | Path], checkpoint: str | Path, folder: str | Path, workers: int | None = None
) -> FeatureReport:
    """Keep in ``folder`` what the model predicts of every recording of the manifests, in step with its samples.

    It goes on where an earlier run stopped; see ``build_features``. Raises UserError where ``folder`` holds what
    another model predicted.
    """
    where = fetched(checkpoint)
    model = load_pretrained(where)
    store = FeatureStore(folder, model.description.mel, predicted=True)
    by = f"{checkpoint}, step {model.step}, {_identity(model)}"
    return fill_store(store, partial(Predictor, where), manifests, workers, by)


def _identity(model: LoadedModel) -> str:
    """The same for the same model, wherever its files lie."""
    weights = hashlib.sha256()
    for name, weight in sorted(model.network.state_dict().items()):
        weights.update(name.encode() + weight.contiguous().numpy().tobytes())
    return digest([model.description.as_dict(), weights.hexdigest()])


class Predictor:
    """Refined frames y'' of recordings: each step predicted from the true frames before it, as in training.

    The temperature of the latent and the pre-net's dropout are those with which the model was exported to speak.
    """

    def __init__(self, checkpoint: Path):
        self.model = load_pretrained(checkpoint)
        self.log_mel = LogMel(self.model.description.mel)
        options = DecodingOptions().with_defaults(self.model.description.decoding)
        self.temperature = options.temperature
        if options.prenet_dropout is not None:
            self.model.network.prenet.dropout = options.prenet_dropout

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
        try:
            output = network(**batch.inputs(), **batch.sizes(), temperature=self.temperature)
        except ValueError as error:  # more positions than it has learned
            raise DataError("too long", str(error)) from None
        return network.denormalise(output.refined)[0, : len(mel)].clamp(min=math.log10(self.log_mel.spec.floor))
