"""From a configuration to a trained model: builds every part and hands them to Lightning."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from melle.checkpoint import ModelDescription, current_arguments, load_description, load_step
from melle.config import build
from melle.data.datamodule import CorpusStatistics, MelleDataModule
from melle.errors import UserError
from melle.model import Melle
from melle.pretrained import look_into
from melle.training.checkpoints import WholeFiles
from melle.training.ema import Ema
from melle.training.inheriting import inherit
from melle.training.module import MelleModule
from melle.training.record import read_metrics, write_metrics, write_record
from melle.training.resume import check_same_model, find_resume, take_weights
from melle.training.signals import StopSignals
from melle.vocoders.training import build_vocoder

# What checkpoints say of the training data.
TOLD = ("frames_per_token", "length_range", "speech_level", "most_tokens")


def train(cfg: DictConfig) -> dict[str, float]:
    """Train by a composed configuration (``conf/train.yaml``). Returns the last logged value of every metric.

    Raises UserError where the configuration or the data cannot be used, and ``melle.training.signals.Stopped`` where a
    signal ended it early.
    """
    _quieten()
    if cfg.trainer.get("max_epochs") not in (None, -1):
        raise UserError("trainer.max_epochs: training is counted in optimiser steps; give trainer.max_steps")
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
        os.environ["OMP_NUM_THREADS"] = str(cfg.threads)  # for the processes that Lightning starts
    if cfg.init_from and cfg.resume is False and Path(cfg.run_dir).resolve() in Path(cfg.init_from).resolve().parents:
        raise UserError(
            f"init_from={cfg.init_from} lies in the run that resume=false puts aside; choose another name=…"
        )
    checkpoint = find_resume(cfg.resume, Path(cfg.run_dir))
    if cfg.task not in ("speech", "vocoder"):
        raise UserError(f"task={cfg.task}: choose speech or vocoder")
    if cfg.task == "speech":
        cfg = inherit(cfg, checkpoint)
    data = build(cfg.data if cfg.task == "speech" else cfg.vocoder_data)
    data.prepare_data()
    data.setup()
    module = (build_module if cfg.task == "speech" else build_vocoder)(cfg, data, checkpoint)
    trainer = build_trainer(cfg, checkpoint)
    # What is left to 32 bits, as the speech samples', need not be exact to the last of them where the rest is not.
    # "highest" is the default, which an earlier job of a sweep may have changed.
    torch.set_float32_matmul_precision("high" if "mixed" in str(trainer.precision) else "highest")
    if trainer.is_global_zero:
        write_record(cfg.run_dir, cfg, trainer.world_size)
    try:
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(f"{cfg.run_dir}: the disk is full ({error}); checkpoints written before are whole") from None
    except SystemExit:  # Lightning's answer to Ctrl-C
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        for ledger in getattr(data, "ledgers", {}).values():
            if ledger.counts:
                print(ledger.summary(), file=sys.stderr)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if not metrics:
        return read_metrics(cfg.run_dir)  # nothing was left to do
    metrics = {**read_metrics(cfg.run_dir), **metrics, "step": float(trainer.global_step)}
    if trainer.is_global_zero:
        write_metrics(cfg.run_dir, metrics)
    return metrics


def build_trainer(cfg: DictConfig, checkpoint: Path | None = None) -> lightning.Trainer:
    """Lightning's Trainer, with every length in optimiser steps however many batches make one.

    What a logger has of steps after ``checkpoint``, from which the run goes on, is replaced by what comes.
    """
    if cfg.trainer.get("gradient_clip_algorithm") not in (None, "norm"):
        raise UserError("trainer.gradient_clip_algorithm: gradients are clipped by norm; leave it out")
    plugins: list = [WholeFiles()]
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))  # ``StopSignals`` does that
    callbacks = [*_chosen(cfg.get("callbacks")).values(), StopSignals()]
    if not cfg.trainer.get("enable_progress_bar", True):  # Lightning refuses a bar then
        callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    callbacks.sort(key=lambda callback: isinstance(callback, Ema))  # last, so that the average speaks in a validation
    first_step = 0 if checkpoint is None else load_step(checkpoint) + 1
    trainer: lightning.Trainer = _build_trainer(
        cfg.trainer,
        default_root_dir=cfg.run_dir,
        callbacks=callbacks,
        logger=list(_chosen(cfg.get("logger"), purge_step=first_step).values()),
        plugins=plugins,
        precision=_precision(cfg.trainer),
    )
    if cfg.step_frames is not None:
        if cfg.trainer.get("accumulate_grad_batches", 1) != 1:
            raise UserError("step_frames and trainer.accumulate_grad_batches say the same; give one of them")
        trainer.accumulate_grad_batches = max(1, round(cfg.step_frames / (cfg.data.batch_frames * trainer.world_size)))
    trainer.val_check_interval *= trainer.accumulate_grad_batches
    # Lightning asks all processes before every batch whether one got SIGTERM, and so waits for the device each time;
    # ``StopSignals`` asks along with the loss.
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None
    return trainer


def _chosen(group: DictConfig | None, **options: Any) -> dict[str, Any]:
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


def build_module(cfg: DictConfig, data: MelleDataModule, checkpoint: Path | None = None) -> MelleModule:
    """The network of ``cfg.model`` for the data's vocabulary and statistics, with its losses and optimiser.

    A run that goes on from ``checkpoint`` keeps the statistics of its beginning; one that begins with the weights of
    ``cfg.init_from`` keeps the scale of its mels.
    """
    earlier = None if checkpoint is None else load_description(checkpoint)
    first = look_into(cfg.init_from)[0] if cfg.init_from and earlier is None else None
    statistics = _statistics(data, earlier or first)
    if earlier is not None:
        statistics = replace(statistics, **{name: getattr(earlier, name) for name in TOLD})
    arguments = current_arguments(OmegaConf.to_container(cfg.model, resolve=True))
    if arguments.pop("normalise_mel"):
        arguments |= {"mel_mean": statistics.mel_mean, "mel_std": statistics.mel_std}
    checkpointing = arguments.pop("gradient_checkpointing")  # how to train, not what the model is
    arguments |= {"vocab_size": data.tokenizer.vocab_size, "n_mels": data.mel.n_mels}
    try:
        arguments["pace"] = statistics.frames_per_token / max(cfg.model.reduction_factor, 1)
        network = Melle(**arguments, gradient_checkpointing=checkpointing)
    except ValueError as error:
        raise UserError(f"model: {error}") from None
    told = {name: getattr(statistics, name) for name in TOLD}
    description = ModelDescription(arguments, data.mel, data.tokenizer, **told)
    if earlier is not None:
        check_same_model(checkpoint, earlier, description)
    if first is not None:
        left_out = take_weights(network, description, cfg.init_from)
        print(f"Begins with the weights of {cfg.init_from}.", *left_out, sep="\n  not taken: ", file=sys.stderr)
    if cfg.compile:
        try:
            network.compile_blocks()
        except RuntimeError as error:
            raise UserError(f"compile=true: {error}") from None
    if network.max_positions is not None:
        data.keep_within(*network.max_positions)
    return MelleModule(
        network=network,
        loss=build(cfg.loss),
        description=description,
        optimizer=build(cfg.optim.optimizer, _partial_=True),
        schedule=build(cfg.optim.schedule),
        seed=cfg.seed,
        max_skipped=cfg.max_skipped,
        skipped=Path(cfg.run_dir) / "skipped.jsonl",
    )


def _statistics(data: MelleDataModule, earlier: ModelDescription | None) -> CorpusStatistics:
    """The data's, with the mean and deviation that a network was trained with earlier."""
    statistics = data.statistics()
    known = {} if earlier is None else earlier.network
    if "mel_mean" not in known:
        return statistics
    return replace(statistics, mel_mean=known["mel_mean"], mel_std=known["mel_std"])


def _precision(trainer: DictConfig) -> str:
    """What was asked for; "auto" is bf16-mixed on GPUs that compute in it."""
    if trainer.precision != "auto":
        return trainer.precision
    on_gpu = trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


def _quieten() -> None:
    """Keep what matters on the screen: advice about loaders and pytrees is not for the person who trains."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*LeafSpec.*",
        ".*transfer_batch_to_device.*",
        ".*sync_dist=True.*",  # what is logged is the same on all ranks
    ):
        warnings.filterwarnings("ignore", message=message)
