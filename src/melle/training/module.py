"""The LightningModule around the network and its losses."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

from melle.checkpoint import (
    DESCRIPTION_KEY,
    WEIGHTS_PREFIX,
    LoadedModel,
    ModelDescription,
    load_model,
    read_hyperparameters,
)
from melle.data.batch import Batch
from melle.devices import seeded
from melle.errors import UserError
from melle.learning_rates import apply_settings, forget_schedules, settings_of
from melle.losses import SUMMED_OVER_BANDS, LossTerms, MelleLoss
from melle.model import Melle
from melle.model.old_weights import rename_old_weights
from melle.synthesis.speech import Speech
from melle.text import Marks, marks_of

SHOWN = ("total", "regression", "kl", "flux", "stop")  # in the progress bar
TERMS = [*LossTerms._fields[:-1], *(f"{name}_per_band" for name in SUMMED_OVER_BANDS)]


class MelleModule(lightning.LightningModule):
    """Trains a network by the paper's losses.

    Args:
        network: the network that ``description`` describes.
        loss: weighs the terms.
        description: what a checkpoint must say to be usable alone.
        optimizer: from the network, and whether a fused implementation may be taken, to an optimiser; only to train.
        schedule: factor of the learning rate by optimiser step; only to train.
        seed: of the random numbers in training.
        expected_frames: mel frames that a training batch is expected to hold, by which losses are divided; text
            tokens and padding do not count (``MelleDataModule.expected_frames``).
        augment: what changes training batches on the device, one after the other: from a ``Batch`` to a ``Batch``.
    """

    METRICS = (*(f"validation/{name}" for name in TERMS), "validation/text_gap")  # what can be monitored

    def __init__(
        self,
        network: Melle,
        loss: MelleLoss,
        description: ModelDescription,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        schedule: Callable[[int], float] | None = None,
        seed: int = 0,
        expected_frames: float = 1.0,
        augment: Sequence[nn.Module] = (),
    ):
        super().__init__()
        self.network, self.loss, self.description = network, loss, description
        self._optimizer, self._schedule = optimizer, schedule
        self.seed, self.expected_frames, self.augment = seed, expected_frames, nn.ModuleList(augment)
        self.batch_size = (0, 0)  # rows and positions of the last batch
        self._validation: list[Tensor] = []  # sums of the batches of a validation

    def forward(self, batch: Batch) -> LossTerms:
        """The loss terms, summed over the frames of the batch."""
        self.batch_size = (len(batch.text), batch.longest)
        output = self.network(**batch.inputs(), **batch.sizes())
        return self.loss(
            output,
            batch.mel_lengths,
            *(batch.recorded or (batch.text_segments, batch.segment_steps)),
            self.network.reduction_factor,
            self.global_step,
            batch.due,
        )

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The weighted loss (eq. 5) of a batch: a sum over its frames, divided by a constant.

        Lightning takes the mean over the batches of an optimiser step, accumulated or of several ranks. As each is
        divided by the frames that a batch is expected to hold, and not by its own, the step's gradient is that of the
        sum over all of its frames, however these are cut into batches. What is logged is so divided, too.
        """
        # Random numbers belong to the step and the batch's place in it, not to what ran before: a run that is resumed
        # draws the same ones, and so do four ranks and one that accumulates their four batches.
        place = index % self.trainer.accumulate_grad_batches * self.trainer.world_size + self.global_rank
        torch.manual_seed(zlib.crc32(f"{self.seed} {self.global_step} {place}".encode()))
        if not batch.ids:  # a stand-in for a batch that cannot be used keeps ranks in step, and teaches nothing
            with unchanged_buffers(self.network):
                return 0 * self(batch).total
        for change in self.augment:
            batch = change(batch)
        terms = LossTerms(*(term / self.expected_frames for term in self(batch)))
        for name, value in self._by_name(terms).items():
            self.log(f"train/{name}", value.detach(), prog_bar=name in SHOWN)
        return terms.total

    def validation_step(self, batch: Batch, index: int) -> None:
        """Sums every term, and the text gap: how much the regression loss rises with the words swapped."""
        # The pre-net's dropout and the latent are random here too: fixed seeds make validations comparable, whatever
        # the number of devices.
        seed = index * self.trainer.world_size + self.global_rank
        with seeded(seed, self.device):
            terms = self(batch)
        with seeded(seed, self.device):
            swapped = self(swap_words(batch, marks_of(self.description.tokenizer)))
        if batch.ids:  # a stand-in does not count
            self._validation.append(torch.stack((swapped.regression - terms.regression, *terms)))

    def on_validation_epoch_end(self) -> None:
        """Logs them per true frame, over all batches and ranks."""
        nothing = torch.zeros(1 + len(LossTerms._fields), device=self.device)
        gap, *sums = self.trainer.strategy.reduce(torch.stack((nothing, *self._validation)).sum(0), reduce_op="sum")
        self._validation = []
        frames = sums[-1]  # without any, all are not a number
        for name, value in self._by_name(LossTerms(*(term / frames for term in sums))).items():
            self.log(f"validation/{name}", value)
        self.log("validation/text_gap", gap / frames / self.network.n_mels, prog_bar=True)

    def predict_step(self, batch: tuple[list[str], list[Any]], index: int = 0) -> list[Speech]:
        """Speaks: ``batch`` holds texts and a prompt, or None, for each."""
        from melle.synthesis.synthesizer import Synthesizer

        model = LoadedModel(self.network, self.description, self.global_step)
        return Synthesizer(model, device=self.device)(*batch)

    def configure_optimizers(self) -> dict[str, Any]:
        # A fused optimiser would unscale half-precision gradients itself, after they were clipped.
        try:
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        except RuntimeError:  # there is no trainer
            scaler = None
        optimizer = self._optimizer(self.network, fused=scaler is None)
        self._settings = settings_of(optimizer)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips as Lightning does, which refuses fused optimisers where it does not know that they need no scaler."""
        if gradient_clip_val and gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(self.network.parameters(), gradient_clip_val)
        elif gradient_clip_val:
            nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def on_train_start(self) -> None:
        """A run that goes on takes its learning rate, schedule and decay from the configuration, which may be new."""
        for config in self.trainer.lr_scheduler_configs:
            apply_settings(config.scheduler, self._settings)
        step = torch.tensor([self.global_step, -self.global_step], device=self.device)
        if self.trainer.world_size > 1:
            dist.all_reduce(step, dist.ReduceOp.MAX)
        if step.sum().item():
            raise UserError(
                "processes go on from different checkpoints: runs/ must lie where all of them see the same files"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[DESCRIPTION_KEY] = self.description.as_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        forget_schedules(checkpoint)
        for name in ("state_dict", "current_model_state"):
            rename_old_weights(None, checkpoint.get(name, {}), WEIGHTS_PREFIX)
        if "ema_updates" in checkpoint:  # written before WeightAveraging did it
            checkpoint["averaging_state"] = {"n_averaged": torch.tensor(checkpoint["ema_updates"])}
        averages = any(isinstance(callback, WeightAveraging) for callback in self.trainer.callbacks)
        if "current_model_state" in checkpoint and not averages:  # training goes on with the weights being trained
            checkpoint["state_dict"] = checkpoint.pop("current_model_state")

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: str | Path, map_location: Any = None, average: bool = True, **arguments: Any
    ) -> MelleModule:
        """The module of a checkpoint, with the losses of its run, in eval mode.

        Nothing that a checkpoint names is executed; to train, give ``optimizer`` and ``schedule``.

        Args:
            average: of a run with EMA the averaged weights, else those that were being trained.
            arguments: of the constructor.
        """
        model = load_model(checkpoint_path, average=average)
        hyperparameters = read_hyperparameters(checkpoint_path)
        weights = {name: value for name, value in hyperparameters.get("loss", {}).items() if not name.startswith("_")}
        module = cls(model.network, MelleLoss(**weights), model.description, **arguments)
        if hyperparameters:
            module.save_hyperparameters(hyperparameters)
        return module.to(map_location or "cpu").eval()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch.to(device) if isinstance(batch, Batch) else batch

    def _by_name(self, terms: LossTerms) -> dict[str, Tensor]:
        values = {name: value for name, value in terms._asdict().items() if name != "frames"}
        return values | {f"{name}_per_band": values[name] / self.network.n_mels for name in SUMMED_OVER_BANDS}


@contextmanager
def unchanged_buffers(network: nn.Module) -> Iterator[None]:
    """Afterwards running statistics are as before."""
    before = [buffer.clone() for buffer in network.buffers()]
    yield
    for buffer, value in zip(network.buffers(), before):
        buffer.data.copy_(value)  # behind autograd's back: the backward pass takes the batch's own statistics


def swap_words(batch: Batch, marks: Marks) -> Batch:
    """The batch with each row's tokens replaced by the next row's, lengths and marks kept; one alone is read backwards.

    How much the regression loss per band rises by it (the "text gap") says how much the network listens to the text: 0
    means that it babbles on from the sound alone.
    """
    own, lengths = batch.text.cpu(), batch.text_lengths.tolist()  # not row by row on a GPU, which would wait each time
    text = own.clone()
    bos, eos = (int(mark is not None) for mark in marks)
    for row, length in enumerate(lengths):
        donor = (row + 1) % len(text)
        words = own[donor, bos : lengths[donor] - eos]
        if len(text) == 1:
            words = words.flip(0)
        count = length - bos - eos
        text[row, bos : bos + count] = words.repeat(-(-count // len(words)))[:count]
    return replace(batch, text=text.to(batch.text.device))
