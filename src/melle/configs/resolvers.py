"""What ``${NAME:…}`` in a configuration stands for."""

from __future__ import annotations

import os
import re
import zlib

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from melle.configs.build import build, wrong_type
from melle.errors import UserError, reason


def sweep_suffix() -> str:
    """By what the jobs of a sweep (``-m``) differ, such as "-model.norm-rms_seed-1"; empty outside of a sweep.

    Overrides that all jobs share are a number at its end, which also keeps it short enough for a file system. What
    Hydra or a shell would read as more than a name is a hyphen.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return ""
    hydra = HydraConfig.get()
    named = hydra.job.override_dirname  # what varies: ``melle.configs.sweeps`` excludes the rest
    everything = ",".join(sorted(text for text in hydra.overrides.task if not text.startswith(("name=", "run_dir="))))
    if named != everything or len(named) > 120:
        named = f"{named[:100]}-{zlib.crc32(everything.encode()):08x}"
    return "-" + re.sub(r"[^\w.+-]+", "-", named.replace("/", ".").replace(",", "_"))


def corpus_folder(corpus: DictConfig | None) -> str:
    """Where the corpus that ``data.corpus`` describes lies, or would lie; of null what a message can show."""
    if corpus is None:
        return "(data.corpus is null)"
    if not OmegaConf.is_dict(corpus):
        raise UserError(f"data.corpus={corpus}: give settings of the corpus, such as data.corpus.hours=1, or null")
    try:
        return str(build(corpus).path)
    except TypeError as error:
        raise UserError(wrong_type(corpus) or f"data.corpus: {reason(error)}") from error


OmegaConf.register_new_resolver("sweep_suffix", sweep_suffix, replace=True)
OmegaConf.register_new_resolver("corpus_folder", corpus_folder, replace=True)
OmegaConf.register_new_resolver("absolute", os.path.abspath, replace=True)  # a job's folder, wherever the sweep's is
