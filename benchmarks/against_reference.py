"""Training steps of ``experiment=reference`` beside a network in the reference implementation's manner: the table."""

from __future__ import annotations

from benchmarks.reference import ReferenceMelle, take_turns
from benchmarks.steps import WARMUP, Steps, make_batches, make_step
from melle.model import Melle


def bench_against_reference(setup: Steps) -> str:
    """Both sides on equal and on LibriSpeech-like lengths."""
    device = setup.start()
    ours, theirs = (
        make_step(one.train().to(device), setup) for one in (Melle(**setup.arguments), ReferenceMelle(setup.arguments))
    )
    equal, random_mix = make_batches(setup, True, True), make_batches(setup, True)
    sorted_mix = make_batches(setup, False)
    equal, random_mix, sorted_mix = (batches[WARMUP - 1 :] for batches in (equal, random_mix, sorted_mix))
    kinds = {
        "equal lengths, the same batches": (equal, equal),
        "mixed lengths, the same batches": (random_mix, random_mix),
        "mixed lengths, each its own batches": (sorted_mix, random_mix),
    }
    lines = [
        f"Training experiment=reference {' '.join(setup.overrides)} on {device}, precision {setup.precision}, "
        f"batch_frames={setup.batch_frames}, {setup.steps} steps of each side by turns.",
        f"  {'true frames/s':<37}{'ours':>9}{'plain':>9}{'ratio':>8}",
    ]
    for name, sides in kinds.items():
        turns = take_turns(ours, theirs, zip(*sides), 1, device)
        frames, plain = turns.speeds
        ratio = turns.ratio if sides[0] is sides[1] else frames / plain
        lines.append(f"  {name:<37}{frames:>9,.0f}{plain:>9,.0f}{ratio:>8.2f}")
    return "\n".join(lines)
