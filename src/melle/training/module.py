"""The LightningModule around the network and its losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from melle.checkpoint import KEY, ModelDescription
from melle.data.batch import Batch
from melle.losses import LossTerms, MelleLoss
from melle.network import Melle
from melle.seeding import seeded


class MelleModule(lightning.LightningModule):
    """Trains a network by the paper's losses.

    Args:
        network: the network that ``description`` describes.
        loss: weighs the terms.
        description: what a checkpoint must say to be usable alone.
        optimizer: from the network to an optimiser.
        schedule: factor of the learning rate by optimiser step.
    """

    def __init__(
        self,
        network: Melle,
        loss: MelleLoss,
        description: ModelDescription,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        schedule: Callable[[int], float],
    ):
        super().__init__()
        self.network, self.loss = network, loss
        self.description = description
        self._optimizer, self._schedule = optimizer, schedule

    def forward(self, batch: Batch) -> LossTerms:
        output = self.network(**batch.inputs())
        return self.loss(
            output,
            batch.mel_lengths,
            batch.text_segments,
            batch.segment_steps,
            self.network.reduction_factor,
            self.global_step,
        )

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        if not batch.ids:  # nothing of it could be used; a gradient of zeros keeps all ranks in step
            return 0 * sum(p.sum() for p in self.network.parameters() if p.requires_grad)
        terms = self(batch)
        self._log(terms, "train", batch, prog_bar=True)
        return terms.total

    def validation_step(self, batch: Batch, index: int) -> None:
        # The pre-net's dropout and the latent are random here too: a fixed seed makes validations comparable.
        with seeded(index, self.device):
            terms = self(batch)
        self._log(terms, "validation", batch, prog_bar=False)
        with seeded(index, self.device):
            gap = self(swap_words(batch)).regression - terms.regression
        # A stand-in, which has no rows, is logged with no weight: ranks that log other names wait for each other.
        self.log("validation/text_gap", gap, batch_size=len(batch.ids), on_epoch=True, prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self._optimizer(self.network)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.description.as_dict()

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _dataloader_idx: int) -> Batch:
        return batch.to(device)

    def _log(self, terms: LossTerms, stage: str, batch: Batch, prog_bar: bool) -> None:
        shown = ("total", "regression", "kl", "flux", "stop")
        for name, value in terms._asdict().items():
            self.log(
                f"{stage}/{name}",
                value,
                prog_bar=prog_bar and name in shown,
                batch_size=len(batch.ids),
                sync_dist=stage == "validation",
            )


def swap_words(batch: Batch) -> Batch:
    """The batch with each row's tokens replaced by the next row's, lengths kept; a row alone is read backwards.

    How much the loss rises by it (the "text gap") says how much the network listens to the text: 0 means that it
    babbles on from the sound alone.
    """
    text = batch.text.clone()
    for row, length in enumerate(batch.text_lengths.tolist()):
        donor = (row + 1) % len(text)
        words = batch.text[donor, : int(batch.text_lengths[donor]) - 1]
        if len(text) == 1:
            words = words.flip(0)
        repeated = words.repeat(-(-(length - 1) // len(words)))[: length - 1]
        text[row, : length - 1] = repeated
    return Batch(ids=batch.ids, **{**batch.inputs(), "text": text})
