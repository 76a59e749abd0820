"""What a sweep goes by: its optimiser and the order of its table."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from melle.evaluation.metrics import metric_of


def goal(config: DictConfig) -> tuple[str, str | None]:
    """What a sweep goes by: a metric, or how its name begins, and "min" or "max", whichever of it is best, or None."""
    if "objective" in config:  # of evaluate.py
        name = config.objective or "wer/"
        return name, {-1: "min", 1: "max"}.get(metric_of(name).better)
    best = OmegaConf.select(config, "callbacks.best") or {}
    usual = "validation/mel_distance" if config.get("task") == "vocoder" else "validation/regression"
    return best.get("monitor") or usual, best.get("mode") or "min"
