"""The LightningModule around the network and its losses."""

from __future__ import annotations

import json
import math
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from melle.checkpoint import KEY, PREFIX, ModelDescription
from melle.data.batch import Batch
from melle.errors import UserError
from melle.losses import SUMMED_OVER_BANDS, LossTerms, MelleLoss
from melle.model import Melle
from melle.model.melle import rename_old_weights
from melle.seeding import seeded
from melle.text import Marks, marks_of
from melle.training.step import GradientStep, StepResult, unchanged_buffers

SHOWN = ("total", "regression", "kl", "flux", "stop")  # in the progress bar


class MelleModule(lightning.LightningModule):
    """Trains a network by the paper's losses.

    Args:
        network: the network that ``description`` describes.
        loss: weighs the terms.
        description: what a checkpoint must say to be usable alone.
        optimizer: from the network, and whether a fused implementation may be taken, to an optimiser.
        schedule: factor of the learning rate by optimiser step.
        seed: of the random numbers in training.
        max_skipped: steps in a row without a finite loss or gradient after which training ends.
        skipped: JSONL file that lists such steps, or None.
    """

    def __init__(
        self,
        network: Melle,
        loss: MelleLoss,
        description: ModelDescription,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[[int], float],
        seed: int = 0,
        max_skipped: int = 20,
        skipped: str | Path | None = None,
    ):
        super().__init__()
        self.network, self.loss = network, loss
        self.description = description
        self._optimizer, self._schedule = optimizer, schedule
        self.seed, self.max_skipped = seed, max_skipped
        self._skipped_file = None if skipped is None else Path(skipped)
        self.skipped = 0  # steps so far
        self._skipped_in_a_row = 0
        self.step = GradientStep(network)
        self.result: StepResult | None = None  # of the last optimiser step
        self._validation: list[Tensor] = []

    def configure_model(self) -> None:
        shard = getattr(self.trainer.strategy, "shard", None)
        if shard is not None:
            shard(self.network)

    def on_train_start(self) -> None:
        """A run that goes on takes its learning rate, schedule and decay from the configuration, which may be new."""
        for config in self.trainer.lr_scheduler_configs:
            scheduler = config.scheduler
            for group, own, base, factor in zip(
                scheduler.optimizer.param_groups, self._groups, scheduler.base_lrs, scheduler.lr_lambdas
            ):
                group.update(own, lr=base * factor(scheduler.last_epoch))
        step = torch.tensor([self.global_step, -self.global_step], device=self.device)
        if self.trainer.world_size > 1:
            dist.all_reduce(step, dist.ReduceOp.MAX)
        if step.sum().item():
            raise UserError(
                "processes go on from different checkpoints: runs/ must lie where all of them see the same files"
            )

    def forward(self, batch: Batch) -> LossTerms:
        output = self.network(**batch.inputs(), **batch.sizes())
        return self.loss(
            output,
            batch.mel_lengths,
            batch.text_segments,
            batch.segment_steps,
            self.network.reduction_factor,
            self.global_step,
            batch.due,
        )

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        # Random numbers belong to the step and the batch's place in it, not to what ran before: a run that is resumed
        # draws the same ones, and so do four ranks and one that accumulates their four batches.
        self.step.begin()
        place = self.step.batches * self.trainer.world_size + self.global_rank
        torch.manual_seed(zlib.crc32(f"{self.seed} {self.global_step} {place}".encode()))

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        self.step.faults += len(batch.faults)
        if batch.ids:
            terms = self(batch)
        else:  # nothing of it could be used; its stand-in keeps ranks in step, and teaches nothing
            with unchanged_buffers(self.network):
                terms = LossTerms(*(0 * term for term in self(batch)))
        return self.step.add(terms, batch.ids, self.trainer.accumulate_grad_batches)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Lightning calls this once the gradients of an optimiser step are there, unscaled."""
        result = self.result = self.step.finish(gradient_clip_val)
        if not result.finite:
            self._skip(result)
        elif result.terms.frames:
            self._skipped_in_a_row = 0
            for name, value in result.terms._asdict().items():
                if name != "frames":
                    self._log(f"train/{name}", value, prog_bar=name in SHOWN)
                if name in SUMMED_OVER_BANDS:
                    self._log(f"train/{name}_per_band", value / self.network.n_mels)
            self._log("train/gradient_norm", result.gradient_norm)
        self._log("train/skipped_steps", float(self.skipped))
        self.step.end()
        if result.faults and self.trainer.world_size > 1:
            self.trainer.datamodule.share_faults()

    def validation_step(self, batch: Batch, index: int) -> None:
        # The pre-net's dropout and the latent are random here too: a fixed seed makes validations comparable.
        with seeded(index, self.device):
            terms = self(batch)
        with seeded(index, self.device):
            swapped = self(swap_words(batch, marks_of(self.description.tokenizer)))
        values = torch.stack((*terms, swapped.regression - terms.regression, torch.zeros_like(terms.total)))
        if not batch.ids:  # a stand-in
            values = torch.zeros_like(values)
        values[-1] = len(batch.faults)
        self._validation.append(values)

    def on_validation_epoch_end(self) -> None:
        empty = torch.zeros(len(LossTerms._fields) + 2, device=self.device)
        sums = torch.stack([empty, *self._validation]).sum(dim=0)
        self._validation = []
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(sums)
        *sums, gap, faults = sums.tolist()
        frames = sums[-1]
        if faults and self.trainer.world_size > 1:
            self.trainer.datamodule.share_faults()
        if not frames:
            return
        for name, value in zip(LossTerms._fields[:-1], sums):
            self.log(f"validation/{name}", value / frames)
            if name in SUMMED_OVER_BANDS:
                self.log(f"validation/{name}_per_band", value / frames / self.network.n_mels)
        self.log("validation/text_gap", gap / frames / self.network.n_mels, prog_bar=True)

    def configure_optimizers(self) -> dict[str, Any]:
        # A fused optimiser would unscale half-precision gradients itself, after they were clipped.
        fused = self._scaler is None
        optimizer = self._optimizer(self.network, fused=fused)
        self._groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.description.as_dict()
        checkpoint["skipped_steps"] = [self.skipped, self._skipped_in_a_row]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.skipped, self._skipped_in_a_row = checkpoint.get("skipped_steps", (0, 0))
        # Only where the schedule stands: what it is, the configuration says.
        for state in checkpoint["lr_schedulers"]:
            for name in state.keys() - {"last_epoch", "_step_count", "lr_lambdas"}:
                del state[name]
            state["lr_lambdas"] = [None] * len(state["lr_lambdas"])
        for name in ("state_dict", "current_model_state"):
            rename_old_weights(None, checkpoint.get(name, {}), PREFIX)
        if "current_model_state" in checkpoint:  # training goes on with the current weights, not with their average
            checkpoint["average"] = checkpoint["state_dict"]
            checkpoint["state_dict"] = checkpoint.pop("current_model_state")

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _dataloader_idx: int) -> Batch:
        return batch.to(device)

    def whole_network(self) -> Melle | None:
        """The network with all its weights, to speak with; None on other ranks than the first. Call it on all ranks."""
        gather = getattr(self.trainer.strategy, "gather", None)
        if gather is not None:
            return gather(self.network, lambda: Melle(**self.description.network))
        return self.network if self.trainer.is_global_zero else None

    def _log(self, name: str, value: float, **options: Any) -> None:
        """Log a number without sending it to the device: Lightning would, and a GPU would wait for each."""
        self.log(name, torch.tensor(value), **options)

    @property
    def _scaler(self) -> torch.amp.GradScaler | None:
        """That of half precision, where it is trained in."""
        return None if self._trainer is None else getattr(self._trainer.precision_plugin, "scaler", None)

    def _skip(self, result: StepResult) -> None:
        self._skipped_in_a_row += 1
        suspects = self.step.suspects(result)
        # In half precision gradients overflow now and then, until the scale is lowered: nothing is wrong with that.
        if self._scaler is None or not math.isfinite(result.terms.total):
            self.skipped += 1
            self._tell_skipped(result, suspects)
        if self._skipped_in_a_row >= self.max_skipped:
            last = ", ".join(suspects[:5]) or "utterances of another process"
            raise UserError(
                f"{self._skipped_in_a_row} optimiser steps in a row had no finite loss or gradient, the last one with "
                f"{last}; lower optim.optimizer.lr, set trainer.precision=32-true, or look at the recordings that "
                f"{self._skipped_file} lists. The last checkpoint is sound: the same command goes on from it"
            )

    def _tell_skipped(self, result: StepResult, suspects: list[str]) -> None:
        if self.trainer.is_global_zero:
            tqdm.write(
                f"step {self.global_step} is skipped: loss {result.terms.total:g}, gradient {result.gradient_norm:g}; "
                f"its utterances are in {self._skipped_file}",
                file=sys.stderr,
            )
        if self._skipped_file is None or not suspects:
            return
        fault = {
            "step": self.global_step,
            "rank": self.global_rank,
            "loss": result.terms.total,
            "gradient_norm": result.gradient_norm,
            "utterances": suspects,
        }
        try:
            self._skipped_file.parent.mkdir(parents=True, exist_ok=True)
            with self._skipped_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(fault, ensure_ascii=False) + "\n")
        except OSError as error:  # of one rank: the others would wait for it
            tqdm.write(f"{self._skipped_file} could not be written: {error}", file=sys.stderr)


def swap_words(batch: Batch, marks: Marks) -> Batch:
    """The batch with each row's tokens replaced by the next row's, lengths and marks kept; one alone is read backwards.

    How much the regression loss per band rises by it (the "text gap") says how much the network listens to the text: 0
    means that it babbles on from the sound alone.
    """
    own, lengths = batch.text.cpu(), batch.text_lengths.tolist()  # not row by row on a GPU, which would wait each time
    text = own.clone()
    begin, end = (int(mark is not None) for mark in marks)
    for row, length in enumerate(lengths):
        donor = (row + 1) % len(text)
        words = own[donor, begin : lengths[donor] - end]
        if len(text) == 1:
            words = words.flip(0)
        count = length - begin - end
        text[row, begin : begin + count] = words.repeat(-(-count // len(words)))[:count]
    return replace(batch, text=text.to(batch.text.device))
