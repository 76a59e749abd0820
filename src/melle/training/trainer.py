"""Lightning's Trainer from the configuration, and what of it this project does not support."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
)
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from melle.checkpoint import load_step
from melle.configs.build import build
from melle.console import nearest
from melle.devices import best_precision
from melle.errors import UserError
from melle.training.callbacks.checkpoint import WholeFiles
from melle.training.callbacks.ema import Ema
from melle.training.callbacks.nonfinite import SkipNonFinite
from melle.training.callbacks.skipped_items import ShareSkippedItems
from melle.training.callbacks.speed import SpeedMonitor
from melle.training.callbacks.stop import StopSignals
from melle.training.callbacks.whole_steps import WholeSteps

# Training goes through batches without end, counted in optimiser steps: it has no epochs that these could mean.
OF_EPOCHS = {
    "max_epochs": "give trainer.max_steps",
    "min_epochs": "give trainer.min_steps",
    "limit_train_batches": "give trainer.max_steps, or a shorter manifest as data.train",
    "overfit_batches": "give a manifest with those utterances as data.train and data.val",
    "reload_dataloaders_every_n_epochs": "leave it out",
    "check_val_every_n_epoch": "give trainer.val_check_interval",
}
UNSUPPORTED = OF_EPOCHS | {
    "use_distributed_sampler": "ranks share the batches already; leave it out",
    "callbacks": "use the group callbacks",
    "logger": "use the group logger",
    "plugins": "leave it out, the run has its own",
    "fast_dev_run": "give trainer.max_steps=2 and trainer.val_check_interval=2 for a short trial",
    "default_root_dir": "give run_dir",
}
DEFAULTS = {  # Lightning's, which change nothing
    "max_epochs": (-1,),
    "limit_train_batches": (1.0,),
    "overfit_batches": (0, 0.0),
    "reload_dataloaders_every_n_epochs": (0,),
    "use_distributed_sampler": (False,),
    "fast_dev_run": (False, 0),
}


def check_trainer(trainer: DictConfig) -> None:
    """Raise UserError for an argument of Lightning's Trainer that would not mean here what its documentation says."""
    for name, instead in UNSUPPORTED.items():
        value = trainer.get(name)
        same = any(value == default and type(value) is type(default) for default in DEFAULTS.get(name, ()))
        if value is not None and not same:
            why = ": training has no epochs, it counts steps" if name in OF_EPOCHS else ""
            raise UserError(f"trainer.{name} is not supported{why}; {instead}")
    if isinstance(trainer.get("val_check_interval"), float):
        raise UserError(
            f"trainer.val_check_interval={trainer.val_check_interval} is a share of an epoch, and training has none; "
            'give optimiser steps, or a time as "DD:HH:MM:SS"'
        )


def build_trainer(cfg: DictConfig, checkpoint: Path | None = None) -> lightning.Trainer:
    """Lightning's Trainer, with every length in optimiser steps however many batches make one.

    What a logger has of steps after ``checkpoint``, from which the run goes on, is replaced by what comes.
    """
    check_trainer(cfg.trainer)
    plugins: list = [WholeFiles()]
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))  # ``StopSignals`` does that
    first_step = 0 if checkpoint is None else load_step(checkpoint) + 1
    loggers = list(chosen(cfg.get("logger"), purge_step=first_step).values())
    auto = cfg.trainer.precision == "auto"
    trainer: lightning.Trainer = _build_trainer(
        cfg.trainer,
        default_root_dir=cfg.run_dir,
        callbacks=build_callbacks(cfg, bool(loggers)),
        logger=loggers,
        plugins=plugins,
        enable_model_summary=cfg.trainer.get("enable_model_summary", False),  # it knows no FLOPs of this network
        precision=best_precision(cfg.trainer.accelerator) if auto else cfg.trainer.precision,
    )
    if cfg.step_frames is not None:
        if cfg.trainer.get("accumulate_grad_batches", 1) != 1:
            raise UserError("step_frames and trainer.accumulate_grad_batches say the same; give one of them")
        trainer.accumulate_grad_batches = max(1, round(cfg.step_frames / (cfg.data.batch_frames * trainer.world_size)))
    if isinstance(cfg.trainer.val_check_interval, int):
        trainer.val_check_interval *= trainer.accumulate_grad_batches
    return trainer


def build_callbacks(cfg: DictConfig, logged: bool = True) -> list[Callback]:
    """Those that are chosen, and those that every run needs; ``logged``: whether there is a logger."""
    needed: list[Callback] = [WholeSteps(), StopSignals()]
    if cfg.task == "speech":
        needed += [SkipNonFinite(Path(cfg.run_dir) / "skipped.jsonl", cfg.max_nonfinite_steps), ShareSkippedItems()]
    callbacks = [*needed, *chosen(cfg.get("callbacks")).values()]
    refused = [] if logged else [LearningRateMonitor]  # by Lightning
    refused += [ProgressBar] if cfg.trainer.get("enable_progress_bar") is False else []
    refused += [Checkpoint] if cfg.trainer.get("enable_checkpointing") is False else []
    callbacks = [callback for callback in callbacks if not isinstance(callback, tuple(refused))]
    # The average comes after the samples, which are of it, and speed at the end: what others do counts as training.
    return sorted(callbacks, key=lambda callback: (isinstance(callback, SpeedMonitor), isinstance(callback, Ema)))


def check_monitors(callbacks: Iterable[Callback], metrics: Iterable[str]) -> None:
    """Raise UserError where a callback waits for a metric that nothing logs."""
    metrics = [*metrics, *(name for callback in callbacks for name in getattr(callback, "METRICS", ()))]
    for callback in callbacks:
        name = callback.monitor if isinstance(callback, ModelCheckpoint | EarlyStopping) else None
        if name is not None and name not in ("step", "epoch", *metrics):
            needed = "it needs callbacks.speech.asr."
            hint = needed if name == "samples/wer" else f"{nearest(name, metrics, 0.0)}?"
            raise UserError(f"monitor={name}: nothing logs it; {hint} There are {', '.join(sorted(metrics))}")


def chosen(group: DictConfig | None, **options: Any) -> dict[str, Any]:
    """What the chosen options of a group make; ``options`` replace those that an option has.

    An experiment may say how an option is to be that is not chosen.
    """
    made = {}
    for name, node in (group or {}).items():
        if node is not None and "_target_" in node:
            made[name] = build(node, **{key: value for key, value in options.items() if key in node})
    return made


def _build_trainer(cfg: DictConfig, **arguments: Any) -> lightning.Trainer:
    try:
        return build(cfg, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, MisconfigurationException):
            raise UserError(f"trainer: {error.__cause__}") from None
        raise
