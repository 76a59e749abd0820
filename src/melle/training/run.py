"""From a configuration to a trained model: builds every part and hands them to Lightning."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from tqdm.contrib.logging import logging_redirect_tqdm

from melle.audio import MelSpec
from melle.checkpoint import ModelDescription, current_arguments, load_description, load_step
from melle.configs.build import build
from melle.data.datamodule import MelleDataModule
from melle.data.statistics import CorpusStatistics
from melle.devices import is_out_of_memory, killed_a_loader
from melle.errors import UserError
from melle.files import check_writable
from melle.model import Melle
from melle.model.compiled import compile_blocks
from melle.pretrained import fetched, last_checkpoint, read_description
from melle.training.callbacks.stop import StopSignals
from melle.training.from_checkpoint import fill_from_checkpoint
from melle.training.module import MelleModule
from melle.training.record import monitor_and_mode, read_metrics, write_metrics, write_record
from melle.training.report import check_report, check_vocoder, choose_cases
from melle.training.resume import check_same_model, find_resume, init_weights, is_new_run, set_aside_later
from melle.training.trainer import build_trainer, check_monitors, check_trainer, chosen
from melle.vocoders.vocos.module import Earlier, VocosModule, build_vocos, read_earlier

# What checkpoints say of the training data.
OF_THE_DATA = ("frames_per_token", "length_range", "speech_level", "most_tokens", "pace_range")


def train(cfg: DictConfig) -> dict[str, float]:
    """Train by a composed configuration (``conf/train.yaml``). Returns the last logged value of every metric.

    Raises UserError where the configuration or the data cannot be used, and ``callbacks.stop.Stopped`` where a signal
    ended it early.
    """
    _silence_warnings()
    check_trainer(cfg.trainer)
    try:
        lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    except ValueError:
        raise UserError(f"seed={cfg.seed}: give a whole number from 0 to 4294967295") from None
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
        os.environ["OMP_NUM_THREADS"] = str(cfg.threads)  # for the processes that Lightning starts
    if cfg.task not in ("speech", "vocoder"):
        raise UserError(f"task={cfg.task}: choose speech or vocoder")
    if cfg.task == "vocoder" and cfg.get("augment"):
        raise UserError(f"augment={','.join(cfg.augment)} is for speech models; leave it out")
    check_writable(cfg.run_dir, folder=True)
    anew = is_new_run(cfg.resume, Path(cfg.run_dir))
    if cfg.init_from and anew:
        _check_init_from(cfg)  # before an earlier run is put aside, and before a corpus is made
    checkpoint = None if anew else find_resume(cfg.resume, Path(cfg.run_dir))
    if cfg.task == "speech":
        cfg = fill_from_checkpoint(cfg, checkpoint)
    data = build(cfg.data if cfg.task == "speech" else cfg.vocoder_data)
    _check_parts(cfg, data.mel)
    earlier = _earlier_vocoder(cfg, data.mel, checkpoint) if cfg.task == "vocoder" else None
    trainer = build_trainer(cfg, checkpoint)
    check_monitors(trainer.callbacks, (MelleModule if cfg.task == "speech" else VocosModule).METRICS)
    if anew:
        check_vocoder(cfg)
    given = OmegaConf.select(cfg, "data.corpus") is None  # else manifests may be still to be made
    if given:
        _check_manifests(cfg)
        cases = choose_cases(cfg)  # or what is wrong with data.test would come to light after training
    if anew:
        find_resume(cfg.resume, Path(cfg.run_dir))  # puts an earlier run aside, now that nothing is mistyped
    data.prepare_data()
    if not given:
        cases = choose_cases(cfg)
    data.setup()
    if cases:
        check_report(cases, data.tokenizer)
    with _machine_errors(cfg, lambda: "before training; choose a smaller model=…, or make room on this machine"):
        module = build_module(cfg, data, checkpoint) if cfg.task == "speech" else build_vocos(cfg, data, earlier)
    module.save_hyperparameters(OmegaConf.to_container(cfg, resolve=True))  # which Lightning gives to the loggers
    # What is left to 32 bits, as the speech samples', need not be exact to the last of them where the rest is not.
    # "highest" is the default, which an earlier job of a sweep may have changed.
    torch.set_float32_matmul_precision("high" if "mixed" in str(trainer.precision) else "highest")
    if trainer.is_global_zero:
        write_record(cfg.run_dir, cfg, trainer.world_size)
        print(_summary(module.network, trainer), file=sys.stderr)
        if checkpoint is not None:
            set_aside_later(Path(cfg.run_dir) / "checkpoints", load_step(checkpoint))
    try:
        with logging_redirect_tqdm(), _machine_errors(cfg, lambda: _of_a_batch(cfg, module)):
            trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        for skipped in getattr(data, "skipped", {}).values():
            if skipped.counts:
                print(skipped.summary(), file=sys.stderr)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for callback in trainer.callbacks:
        if isinstance(callback, StopSignals) and callback.stopped is not None:
            raise callback.stopped
    if not metrics:
        return read_metrics(cfg.run_dir)  # nothing was left to do
    metrics = {**read_metrics(cfg.run_dir), **metrics, "step": float(trainer.global_step)}
    if trainer.is_global_zero:
        write_metrics(cfg.run_dir, metrics)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and objective(cfg, metrics) is not None:
                logger.log_metrics({"hp_metric": objective(cfg, metrics)}, trainer.global_step)
                logger.finalize("success")
    return metrics


def build_module(cfg: DictConfig, data: MelleDataModule, checkpoint: Path | None = None) -> MelleModule:
    """The network of ``cfg.model`` for the data's vocabulary and statistics, with its losses and optimiser.

    A run that goes on from ``checkpoint`` keeps the statistics of its beginning; one that begins with the weights of
    ``cfg.init_from`` keeps the scale of its mels.
    """
    earlier = None if checkpoint is None else load_description(checkpoint)
    first = read_description(cfg.init_from)[0] if cfg.init_from and earlier is None else None
    statistics = _statistics(data, earlier or first)
    if earlier is not None:
        statistics = replace(statistics, **{name: getattr(earlier, name) for name in OF_THE_DATA})
    sizes = {"vocab_size": data.tokenizer.vocab_size, "n_mels": data.mel.n_mels}
    network, arguments = make_network(cfg, statistics, **sizes)
    of_the_data = {name: getattr(statistics, name) for name in OF_THE_DATA}
    description = ModelDescription(arguments, data.mel, data.tokenizer, **of_the_data)
    if earlier is not None:
        check_same_model(checkpoint, earlier, description)
        description = replace(description, decoding=earlier.decoding)
    if first is not None:
        not_taken = init_weights(network, description, cfg.init_from)
        if not not_taken:  # the same network, which goes on speaking as it does best
            unknown = description.unsupported()
            kept = {name: value for name, value in first.decoding.items() if name not in unknown}
            description = replace(description, decoding=kept)
        print(f"Begins with the weights of {cfg.init_from}.", *not_taken, sep="\n  not taken: ", file=sys.stderr)
    if cfg.compile:
        try:
            compile_blocks(network)
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
        expected_frames=data.expected_frames(),
        augment=[*chosen(cfg.get("augment")).values()],
    )


def make_network(
    cfg: DictConfig, statistics: CorpusStatistics, vocab_size: int, n_mels: int
) -> tuple[Melle, dict[str, Any]]:
    """The network of ``cfg.model``, and the arguments that describe it. Raises UserError where they do not fit."""
    arguments = current_arguments(OmegaConf.to_container(cfg.model, resolve=True))
    if arguments.pop("normalise_mel"):
        arguments |= {"mel_mean": statistics.mel_mean, "mel_std": statistics.mel_std}
    checkpointing = arguments.pop("gradient_checkpointing")  # how to train, not what the model is
    arguments |= {"vocab_size": vocab_size, "n_mels": n_mels}
    try:
        arguments["pace"] = statistics.frames_per_token / max(cfg.model.reduction_factor, 1)
        return Melle(**arguments, gradient_checkpointing=checkpointing), arguments
    except (ValueError, TypeError) as error:
        raise UserError(f"model: {error}") from None


def _summary(network: torch.nn.Module, trainer: lightning.Trainer) -> str:
    """A line on what is trained, and on what."""
    count = sum(parameter.numel() for parameter in network.parameters())
    devices = f"{trainer.world_size} × {trainer.strategy.root_device.type}"
    return f"{type(network).__name__}, {count / 1e6:.1f} million parameters; {devices}, {trainer.precision}"


def objective(cfg: DictConfig, metrics: dict[str, float]) -> float | None:
    """What a sweep goes by: the metric by which the best checkpoint is chosen."""
    return metrics.get(monitor_and_mode(cfg)[0])


def _check_parts(cfg: DictConfig, mel: MelSpec) -> None:
    """Raise UserError where a part that needs no data cannot be made: before a corpus is made, which may take hours."""
    build(cfg.optim.schedule)
    if cfg.task == "speech":
        build(cfg.loss)
        chosen(cfg.get("augment"))
        with torch.device("meta"):  # no memory is taken, and no random number is drawn
            make_network(
                cfg, CorpusStatistics(0.0, 1.0, 1.0, (1.0, 1.0), (1.0, 1.0), 0.0, None), vocab_size=1, n_mels=mel.n_mels
            )


def _check_init_from(cfg: DictConfig) -> None:
    """Raise UserError where ``init_from`` is nothing to begin with."""
    if cfg.resume is False and Path(cfg.run_dir).resolve() in Path(cfg.init_from).resolve().parents:
        raise UserError(
            f"init_from={cfg.init_from} lies in the run that resume=false puts aside; choose another name=…"
        )
    if cfg.task == "speech":
        read_description(cfg.init_from)


def _earlier_vocoder(cfg: DictConfig, mel: MelSpec, checkpoint: Path | None) -> Earlier | None:
    """What a vocoder goes on from, or begins with. Raises UserError where it is nothing for this run."""
    if checkpoint is not None:
        return read_earlier(cfg, mel, checkpoint, str(checkpoint), "choose another name=… for this run")
    if not cfg.init_from:
        return None
    where = fetched(cfg.init_from)
    if where.is_dir() and (last := last_checkpoint(where)) is not None:
        raise UserError(f"init_from={cfg.init_from}: the folder of a run; give its checkpoint, {last}")
    advice = "give init_from= a vocoder's checkpoint, or a folder exported with --vocoder"
    earlier = read_earlier(cfg, mel, where, cfg.init_from, advice)
    print(f"Begins with the weights of {cfg.init_from}.", file=sys.stderr)
    return earlier


@contextmanager
def _machine_errors(cfg: DictConfig, lack: Callable[[], str]) -> Iterator[None]:
    """Let a lack of memory (at what, and what to do, says ``lack``) and a full disk be one sentence."""
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if killed_a_loader(error):
            raise UserError(
                f"out of memory: the system ended a process that loads data; lower data.workers={cfg.data.workers}"
                " or, where data lie in a small /dev/shm (Bus error), enlarge that"
            ) from None
        if is_out_of_memory(error):
            raise UserError(f"out of memory {lack()}") from None
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise UserError(
                f"{cfg.run_dir}: the disk is full ({error}); checkpoints written before are whole"
            ) from None
        raise


def _of_a_batch(cfg: DictConfig, module: lightning.LightningModule) -> str:
    rows, positions = getattr(module, "batch_size", (None, None))
    if rows is None:
        what, lower = "a batch", "vocoder_data.batch_size or vocoder_data.segment_frames"
    else:
        what = f"a batch of {rows} rows and {positions} positions"
        lower = f"data.batch_frames={cfg.data.batch_frames} (step_frames= keeps the size of an optimiser step)"
        lower += "" if cfg.model.gradient_checkpointing else ", or set model.gradient_checkpointing=true"
    return f"at {what}; lower {lower}. The same command goes on from the last checkpoint, if there is one"


def _check_manifests(cfg: DictConfig) -> None:
    """Raise UserError where ``data.train`` (a manifest, or shards) or ``data.val`` is not there."""
    for name in ("train", "val"):
        if not Path(cfg.data[name]).exists():
            raise UserError(f"data.{name}={cfg.data[name]}: no such manifest; give the path of a JSONL file")


def _statistics(data: MelleDataModule, earlier: ModelDescription | None) -> CorpusStatistics:
    """The data's, with the mean and deviation that a network was trained with earlier."""
    statistics = data.statistics()
    known = {} if earlier is None else earlier.network
    if "mel_mean" not in known:
        return statistics
    return replace(statistics, mel_mean=known["mel_mean"], mel_std=known["mel_std"])


def _silence_warnings() -> None:
    """Keep what matters on the screen: advice about loaders and pytrees is not for the person who trains."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*LeafSpec.*",
        ".*transfer_batch_to_device.*",
        ".*sync_dist=True.*",  # what is logged is the same on all ranks
        ".*Checkpoint directory .* exists and is not empty.*",  # the run goes on
        ".*The dirpath has changed from.*",
        ".*callbacks used to create the checkpoint need to be provided.*",
    ):
        warnings.filterwarnings("ignore", message=message)
