"""What one rank finds that it cannot use, all ranks count."""

from __future__ import annotations

from typing import Any

import lightning


class ShareSkippedItems(lightning.Callback):
    """Lets several ranks judge together how much of the data may be unusable: one that ended alone would leave the
    others waiting.

    Args:
        every_n_steps: optimiser steps between such judgements; there is one after every validation, too.
    """

    def __init__(self, every_n_steps: int = 10):
        self.every_n_steps = every_n_steps

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if (index + 1) % (self.every_n_steps * trainer.accumulate_grad_batches) == 0:
            self._share(trainer)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._share(trainer)

    def _share(self, trainer: lightning.Trainer) -> None:
        if trainer.world_size > 1:
            trainer.datamodule.share_faults()
