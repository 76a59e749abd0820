"""Score checkpoints on held-out voices: ``python evaluate.py checkpoint=runs/quickstart/checkpoints/last.ckpt``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from melle.errors import UserError


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Score what the config names, print the table, write results.json; returns the last checkpoint's metrics."""
    # Imported here, so that what is wrong with the command line is said at once.
    from melle.config import build
    from melle.data.manifest import read_manifest
    from melle.data.pairs import cross_sentence_pairs
    from melle.evaluation.run import or_left_out, score
    from melle.evaluation.scores import format_table
    from melle.evaluation.systems import find_checkpoints, read_checkpoints
    from melle.synthesis.guards import DecodingOptions

    where = OmegaConf.to_container(cfg.checkpoint) if OmegaConf.is_list(cfg.checkpoint) else cfg.checkpoint
    paths = find_checkpoints(where)
    pairs = cross_sentence_pairs(
        read_manifest(cfg.test), cfg.utterances, cfg.seed, cfg.min_prompt_seconds, cfg.max_prompt_seconds
    )
    checkpoints = read_checkpoints(paths, pairs)
    runs = [checkpoint.run.resolve() for checkpoint in checkpoints] or [Path("runs/recordings").resolve()]
    output = Path(cfg.output or os.path.relpath(os.path.commonpath(runs)))
    scores = score(
        checkpoints,
        pairs,
        output,
        asr=or_left_out("Word error rate", lambda: build(cfg.asr) if cfg.get("asr") else None),
        speaker=or_left_out("Speaker similarity", lambda: build(cfg.speaker) if cfg.get("speaker") else None),
        vocoder=OmegaConf.to_container(cfg.vocoder),
        options=DecodingOptions(**cfg.decoding),
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        device=cfg.device,
        save_audio_of=cfg.save_audio,
        weights=cfg.weights,
    )
    print(format_table(scores))
    print(f"{len(pairs)} utterances; every one of them in {output / 'results.json'}, sound in {output / 'evaluation'}")
    return scores[-1].metrics()


@hydra.main(config_path="conf", config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    try:
        evaluate(cfg)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
