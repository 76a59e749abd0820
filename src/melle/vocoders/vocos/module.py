"""How our own vocoder learns: first the spectra, then also to pass for a recording (Vocos, §3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn.utils import parametrize
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from tqdm import tqdm

from melle.audio import MelSpec, save_audio, within_scale
from melle.configs.build import build
from melle.devices import count_devices
from melle.errors import UserError
from melle.learning_rates import apply_settings, forget_schedules, settings_of
from melle.vocoders.vocos.discriminators import Discriminators
from melle.vocoders.vocos.losses import MelDistance, PhaseAdvance, discriminator_loss, feature_distance, generator_loss
from melle.vocoders.vocos.network import VocosNetwork, VocosSizes
from melle.vocoders.vocos.pitch import measure_pitch, pitch_loss
from melle.vocoders.vocos.segments import Predictions, Recordings, Segment, SegmentBatches, WholeRecordings
from melle.vocoders.vocos.vocoder import KEY, VocosDescription, load_network

LOOK_EVERY = 20  # optimiser steps between looks at whether the loss is finite: each waits for the device
NEVER = 2**62  # the step of what has not come


@dataclass(frozen=True)
class VocosLoss:
    """Weights of the generator's terms."""

    mel: float = 15.0
    phase: float = 5.0  # 0: off
    adversarial: float = 1.0
    features: float = 2.0
    adversarial_after: int = 0  # optimiser steps without discriminators, which are several times as fast


class VocosModule(lightning.LightningModule):
    """The network, its discriminators and their two optimisers. Trains on one device.

    Lightning knows the generator's optimiser alone, so that its steps are the run's; the discriminators' goes along.
    """

    METRICS = ("validation/mel_distance", "validation/phase_advance")  # what can be monitored

    def __init__(
        self,
        description: VocosDescription,
        discriminators: Discriminators,
        loss: VocosLoss,
        learning_rate: float,
        schedule: Callable[[int], float],
        samples: Path | None = None,
        sample_count: int = 4,
    ):
        super().__init__()
        self.description, self.loss, self.schedule = description, loss, schedule
        self.network, self.discriminators = description.make(), discriminators
        self.mel_distance = MelDistance(description.mel.sample_rate)
        self.phase_advance = PhaseAdvance(description.mel.n_fft, description.mel.hop_length)
        self.learning_rate, self.samples, self.sample_count = learning_rate, samples, sample_count
        self._other = AdamW(self.discriminators.parameters(), lr=learning_rate, betas=(0.8, 0.99))
        self.register_buffer("_not_finite", torch.tensor(NEVER), persistent=False)  # the first step whose loss was not

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = AdamW(self.network.parameters(), lr=self.learning_rate, betas=(0.8, 0.99))
        self._settings = settings_of(optimizer)
        scheduler = LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def training_step(self, batch: Segment, index: int) -> Tensor:
        real, mel = batch
        logits = self.network.pitch_logits(mel) if self.network.pitch is not None else None
        made = self.network.waveform(mel, self.network.turns(mel, logits))
        terms = {"mel": self.mel_distance(real, made)}
        total = self.loss.mel * terms["mel"]
        if self.loss.phase:
            terms["phase"] = self.phase_advance(real, made)
            total = total + self.loss.phase * terms["phase"]
        if logits is not None:  # of a network of its own, which learns from this alone
            rate, hop = self.description.mel.sample_rate, self.description.mel.hop_length
            terms["pitch"] = pitch_loss(logits, *measure_pitch(real, rate, hop))
            total = total + terms["pitch"]
        if self.global_step >= self.loss.adversarial_after:
            terms["discriminator"] = self._discriminate(real, made.detach())
            self.discriminators.requires_grad_(False)
            with parametrize.cached():  # both passes take the same weights, normalised once
                scores, seen = self.discriminators(made)
                with torch.no_grad():
                    _, seen_real = self.discriminators(real)
            self.discriminators.requires_grad_(True)
            terms |= {"adversarial": generator_loss(scores), "features": feature_distance(seen_real, seen)}
            total = total + self.loss.adversarial * terms["adversarial"] + self.loss.features * terms["features"]
        self._watch(total.detach())
        self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()})
        self.log("train/total", total.detach(), prog_bar=True)
        return total

    def _discriminate(self, real: Tensor, made: Tensor) -> Tensor:
        """One step of the discriminators."""
        for group in self._other.param_groups:
            group["lr"] = self.learning_rate * self.schedule(self.global_step)
        scores, _ = self.discriminators(torch.cat((real, made)))  # one pass of a larger batch keeps a GPU busier
        loss = discriminator_loss(*zip(*(score.chunk(2) for score in scores)))
        self._other.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.discriminators.parameters(), 1.0)
        self._other.step()
        return loss.detach()

    def _watch(self, total: Tensor) -> None:
        """Note on the device when the loss was first not finite, and look at the note now and then."""
        now = self._not_finite.clamp(max=self.global_step)
        self._not_finite = torch.where(torch.isfinite(total), self._not_finite, now)
        if self.global_step % LOOK_EVERY == 0:
            self._stop_if_not_finite()

    def _stop_if_not_finite(self) -> None:
        step = int(self._not_finite)
        if step != NEVER:
            raise UserError(f"step {step}: the loss is not finite; lower learning_rate, or resume earlier")

    def validation_step(self, batch: Segment, index: int) -> None:
        real, mel = batch
        made = self.network(mel)
        self.log("validation/mel_distance", self.mel_distance(real, made), prog_bar=True, batch_size=1)
        self.log("validation/phase_advance", self.phase_advance(real, made), prog_bar=True, batch_size=1)
        if index < self.sample_count and self.samples is not None and not self.trainer.sanity_checking:
            rate = self.description.mel.sample_rate
            folder = self.samples / f"step_{self.global_step:06d}"
            save_audio(folder / f"{index}.wav", within_scale(made[0]), rate)
            if not (self.samples / "recordings" / f"{index}.wav").exists():
                save_audio(self.samples / "recordings" / f"{index}.wav", real[0], rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._stop_if_not_finite()  # what is saved can be gone on from
        checkpoint[KEY] = self.description.as_dict()
        checkpoint["discriminators"] = self._other.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        forget_schedules(checkpoint)
        self._other.load_state_dict(checkpoint["discriminators"])  # their rate is set at every step

    def on_train_start(self) -> None:
        """A run that goes on takes its learning rate and schedule from the configuration, which may be new."""
        for config in self.trainer.lr_scheduler_configs:
            apply_settings(config.scheduler, self._settings)
        for state in self._other.state.values():  # what was loaded on the CPU
            for name, value in state.items():
                if isinstance(value, Tensor) and name != "step":
                    state[name] = value.to(self.device)
        for optimizer in (self.trainer.optimizers[0], self._other):
            fuse(optimizer, self.device.type == "cuda")

    def on_train_end(self) -> None:
        self._stop_if_not_finite()


class VocosData(lightning.LightningDataModule):
    """Reads the manifests that ``MelleDataModule`` reads, for the sound alone.

    Args:
        train, val: manifests.  corpus: an object with ``prepare()`` that makes them where they are missing, or None.
        mel: what a frame is.
        segment_frames, batch_size: of a training batch.  gain: see ``SegmentBatches``.
        val_count, val_frames: recordings to validate on, and at most so many frames of each.
        cache: keep waveforms in memory.  workers: processes that load.  seed: of the segments.
        predictions: folder of what a model predicts of the training recordings, of which ``predicted_share`` of the
            training segments are made; None: all are of the recordings' own frames.
    """

    def __init__(
        self,
        train: str,
        val: str,
        mel: MelSpec,
        segment_frames: int = 32,
        batch_size: int = 16,
        gain: tuple[float, float] = (-6.0, 3.0),
        val_count: int = 16,
        val_frames: int = 250,
        corpus: Any = None,
        cache: bool = False,
        workers: int = 0,
        seed: int = 0,
        predictions: str | None = None,
        predicted_share: float = 0.5,
    ):
        super().__init__()
        if segment_frames < 1 or batch_size < 1 or val_count < 1:
            raise ValueError("data: segment_frames, batch_size and val_count must be 1 or more")
        self.paths, self.mel, self.corpus = {"train": train, "val": val}, mel, corpus
        self.segment_frames, self.batch_size, self.gain = segment_frames, batch_size, tuple(gain)
        self.val_count, self.val_frames = val_count, val_frames
        self.cache, self.workers, self.seed = cache, workers, seed
        self.predictions = None if predictions is None else Predictions(predictions, mel, predicted_share)
        self.recordings: dict[str, Recordings] = {}
        self._before: tuple[int, int] | None = None  # optimiser steps and batches before this process began
        self._state: dict[str, int] | None = None  # what a checkpoint says

    def prepare_data(self) -> None:
        if self.corpus is not None:
            self.corpus.prepare()

    def setup(self, stage: str | None = None) -> None:
        if not self.recordings:
            self.recordings = {name: Recordings(path, self.mel, self.cache) for name, path in self.paths.items()}
            if self.predictions is not None:
                self.predictions.check(self.recordings["train"].utterances, self.paths["train"])

    def statistics(self, batches: int = 20) -> tuple[float, float]:
        """Mean and deviation of the log10 mels of some training batches."""
        self.setup()
        made = self._batches(0)
        mels = torch.stack(
            [made.batch(number)[1] for number in tqdm(range(batches), desc="mel statistics", leave=False)]
        )
        return float(mels.mean()), float(mels.std())

    def train_dataloader(self) -> DataLoader[Segment]:
        step = 0 if self.trainer is None else self.trainer.global_step
        # Checkpoints of earlier versions do not say how many there were.
        batches = step * (1 if self.trainer is None else self.trainer.accumulate_grad_batches)
        self._before = step, batches if self._state is None else self._state["batches"]
        return DataLoader(
            self._batches(self._before[1]),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Segment]:
        return DataLoader(WholeRecordings(self.recordings["val"], self.val_count, self.val_frames), batch_size=1)

    def state_dict(self) -> dict[str, int]:
        """The batches of all optimiser steps so far, whatever was accumulated; Lightning puts it into checkpoints."""
        if self._before is None or self.trainer is None:
            return {}
        step, batches = self._before
        return {"batches": batches + (self.trainer.global_step - step) * self.trainer.accumulate_grad_batches}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Lightning calls this before it asks for the loader."""
        self._state = state_dict or None

    def _batches(self, first: int) -> SegmentBatches:
        sizes = (self.batch_size, self.segment_frames, self.gain, self.seed)
        return SegmentBatches(self.recordings["train"], first, *sizes, self.predictions)


def fuse(optimizer: Optimizer, fused: bool) -> None:
    """Let an AdamW do its steps in a few operations, or in many; what it goes on from may have been the other way.

    Not by AdamW's own argument, with which Lightning refuses to clip gradients.
    """
    for group in optimizer.param_groups:
        group["fused"] = fused or None  # None: as PyTorch likes best
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if "step" in state:  # which is counted where the operations are
                state["step"] = state["step"].to(parameter.device if fused else "cpu", torch.float32)


Earlier = tuple[VocosDescription, VocosNetwork]  # a vocoder to go on from


def build_vocos(cfg: DictConfig, data: VocosData, earlier: Earlier | None = None) -> VocosModule:
    """The module of ``cfg.vocoder_training``, with the weights and mel statistics of ``earlier`` where there is one.

    Discriminators begin anew; those of a checkpoint that a run goes on from are Lightning's to load.
    """
    if count_devices(cfg.trainer.accelerator, cfg.trainer.devices) != 1 or cfg.trainer.num_nodes != 1:
        raise UserError("vocoders train on one device: trainer.devices=1 trainer.num_nodes=1")
    if str(cfg.trainer.precision).startswith("16"):
        raise UserError("vocoders train in 32-true or bf16-mixed: trainer.precision=32-true")
    settings, sizes = cfg.vocoder_training, _sizes(cfg)
    description = VocosDescription(data.mel, sizes, *data.statistics()) if earlier is None else earlier[0]
    try:
        torch.manual_seed(cfg.seed)  # whatever was drawn before
        module = VocosModule(
            description,
            Discriminators(**settings.discriminators),
            VocosLoss(**settings.loss),
            settings.learning_rate,
            build(cfg.optim.schedule),
            Path(cfg.run_dir) / "samples",
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"vocoder_training: {error}") from None
    if earlier is not None:
        module.network.load_state_dict(earlier[1].state_dict())
    return module


def read_earlier(cfg: DictConfig, mel: MelSpec, where: Path, name: str, advice: str) -> Earlier:
    """The vocoder at ``where`` for a run of ``cfg`` to go on from, or to begin with.

    Args:
        mel: what a frame of the run is.
        name, advice: what people call the vocoder, and what they may do if it is none for this run.

    Raises UserError where it is none, of other sizes or mel frames, or damaged.
    """
    description, network = load_network(where, advice)
    if unlike := _unlike(VocosDescription(mel, _sizes(cfg), description.mel_mean, description.mel_std), description):
        raise UserError(f"{name} is a vocoder with {' '.join(unlike)}: give the same, or {advice}")
    return description, network


def _sizes(cfg: DictConfig) -> VocosSizes:
    try:
        return VocosSizes(**cfg.vocoder_training.sizes)
    except (ValueError, TypeError) as error:
        raise UserError(f"vocoder_training: {error}") from None


def _unlike(description: VocosDescription, earlier: VocosDescription) -> list[str]:
    """Options by which ``description`` would be like ``earlier``."""
    pairs = (("data.mel", description.mel, earlier.mel), ("vocoder_training.sizes", description.sizes, earlier.sizes))
    return [
        f"{group}.{name}={value:g}"
        for group, here, there in pairs
        for name, value in there.as_dict().items()
        if here.as_dict()[name] != value
    ]
