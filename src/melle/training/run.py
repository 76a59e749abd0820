"""From a configuration to a trained model: builds every part and hands them to Lightning."""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import lightning
import torch
from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from melle.checkpoint import ModelDescription, load_model
from melle.config import build
from melle.data.datamodule import CorpusStatistics, MelleDataModule
from melle.errors import UserError
from melle.network import Melle
from melle.training.module import MelleModule


def train(cfg: DictConfig) -> dict[str, float]:
    """Train by a composed configuration (``conf/train.yaml``). Returns the last logged value of every metric.

    Raises UserError where the configuration or the data cannot be used.
    """
    _quieten()
    if cfg.trainer.get("max_epochs") not in (None, -1):
        raise UserError("trainer.max_epochs: training is counted in optimiser steps; give trainer.max_steps")
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    checkpoint = find_resume(cfg.resume, Path(cfg.run_dir))
    data: MelleDataModule = build(cfg.data)
    data.prepare_data()
    data.setup()
    earlier = None if checkpoint is None else load_model(checkpoint).description
    module = build_module(cfg, data, earlier)
    if earlier is not None:
        check_same_model(checkpoint, earlier, module)
    trainer: lightning.Trainer = build(
        cfg.trainer,
        default_root_dir=cfg.run_dir,
        callbacks=list(build(cfg.callbacks).values()),
        logger=build(cfg.logger),
    )
    try:
        trainer.fit(module, data, ckpt_path=checkpoint)
    finally:
        for ledger in data.ledgers.values():
            if ledger.counts:
                print(ledger.summary(), file=sys.stderr)
    if trainer.interrupted:
        raise KeyboardInterrupt
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def build_module(cfg: DictConfig, data: MelleDataModule, earlier: ModelDescription | None = None) -> MelleModule:
    """The network of ``cfg.model`` for the data's vocabulary and statistics, with its losses and optimiser.

    A run that goes on keeps the statistics that the ``earlier`` part of it was trained with.
    """
    statistics = data.statistics()
    if earlier is not None:
        known = earlier.network
        pace = earlier.frames_per_token
        if "mel_mean" in known:
            statistics = CorpusStatistics(known["mel_mean"], known["mel_std"], pace)
        else:
            statistics = replace(statistics, frames_per_token=pace)
    arguments = OmegaConf.to_container(cfg.model, resolve=True)
    if arguments.pop("normalise_mel"):
        arguments |= {"mel_mean": statistics.mel_mean, "mel_std": statistics.mel_std}
    checkpointing = arguments.pop("gradient_checkpointing")  # how to train, not what the model is
    arguments |= {"vocab_size": data.tokenizer.vocab_size, "n_mels": data.mel.n_mels}
    try:
        arguments["pace"] = statistics.frames_per_token / max(cfg.model.reduction_factor, 1)
        network = Melle(**arguments, gradient_checkpointing=checkpointing)
    except ValueError as error:
        raise UserError(f"model: {error}") from None
    if network.longest is not None:
        data.keep_within(*network.longest)
    return MelleModule(
        network=network,
        loss=build(cfg.loss),
        description=ModelDescription(arguments, data.mel, data.tokenizer, statistics.frames_per_token),
        optimizer=build(cfg.optim.optimizer, _partial_=True),
        schedule=build(cfg.optim.schedule),
    )


def find_resume(resume: str | bool, run: Path) -> Path | None:
    """The checkpoint to go on from. ``false`` puts an earlier run of the same name aside, so that nothing is lost."""
    last = run / "checkpoints" / "last.ckpt"
    if resume == "auto":
        return last if last.is_file() else None
    if resume is False:
        if not last.is_file():
            return None
        with FileLock(run / ".lock"):  # torchrun starts all ranks at once
            if not last.is_file():
                return None
            number = next(n for n in range(1, 10**6) if not (run / f"previous-{n}").exists())
            (run / f"previous-{number}").mkdir()
            for name in ("checkpoints", "tensorboard", "report", "evaluation", "results.json", "left_out"):
                if (run / name).exists():
                    (run / name).rename(run / f"previous-{number}" / name)
        return None
    if not isinstance(resume, str) or not Path(resume).is_file():
        raise UserError(f"resume={resume}: choose auto, false or the path of a checkpoint")
    return Path(resume)


def check_same_model(checkpoint: Path, earlier: ModelDescription, module: MelleModule) -> None:
    """Raise UserError where the checkpoint holds another network or tokenizer than the one to be trained."""
    if earlier.tokenizer.as_dict() != module.description.tokenizer.as_dict():
        raise UserError(
            f"{checkpoint} was trained with another tokenizer than the one of data.train and tokenizer; restore them, "
            "choose another name=… for this run, or resume=false to put the earlier one aside and start anew"
        )
    ours, theirs = module.description.network, earlier.network
    differing = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if differing:
        raise UserError(
            f"{checkpoint} holds a model with other settings ({', '.join(differing)}); choose another name=… for this "
            "run, or resume=false to put the earlier one aside and start anew"
        )


def _quieten() -> None:
    """Keep what matters on the screen: advice about loaders and pytrees is not for the person who trains."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for message in (".*does not have many workers.*", ".*LeafSpec.*", ".*transfer_batch_to_device.*"):
        warnings.filterwarnings("ignore", message=message)
