"""A run goes on with whole optimiser steps, of however many batches."""

from __future__ import annotations

from typing import Any

import lightning


class WholeSteps(lightning.Callback):
    """Lets Lightning's count of batches stand at the last optimiser step, of as many batches as a step now has.

    Lightning begins a step where its count of batches is a multiple of ``accumulate_grad_batches``; a run that goes on
    with another number of them, or that was saved between two steps, would else begin in the middle of one.
    """

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["current"], progress["total"]):
            shift = checkpoint["global_step"] * trainer.accumulate_grad_batches - counts["processed"]
            for name in ("ready", "started", "processed", "completed"):
                counts[name] += shift
