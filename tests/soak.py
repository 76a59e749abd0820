"""Kills a training again and again, and compares its losses with those of an uninterrupted one.

    python tests/soak.py --kills 20 [overrides of train.py]

Runs ``python train.py`` twice, as ``soak_whole`` and as ``soak_killed``; the second is ended by SIGKILL at random
moments and started again by the same command. Every step's loss must be the same to the last bit, also where a step was
made twice. By hand, not part of the test suite: the quickstart takes three quarters of an hour on two cores.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[1]
METRIC = "train/total"


def command(name: str, overrides: list[str]) -> list[str]:
    settings = [f"name={name}", "trainer.log_every_n_steps=1", "callbacks.checkpoint.every=50", "report.utterances=0"]
    return [sys.executable, str(ROOT / "train.py"), *settings, *overrides]


def losses(name: str) -> dict[int, set[float]]:
    """Of every step, what it gave each time it was made."""
    values: dict[int, set[float]] = defaultdict(set)
    for file in sorted((Path("runs") / name / "tensorboard").glob("events*")):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0}, purge_orphaned_data=False).Reload()
        if METRIC in events.Tags()["scalars"]:
            for event in events.Scalars(METRIC):
                values[event.step].add(event.value)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="how often the run is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options, overrides = parser.parse_known_args()
    rng = random.Random(options.seed)
    begun = time.monotonic()
    print("uninterrupted run: runs/soak_whole", flush=True)
    subprocess.run(command("soak_whole", overrides), check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begun
    moments = []
    for number in range(options.kills):
        # On average a run lives long enough to come as far as its share of the whole.
        moment = 15 + rng.uniform(0.2, 1.8) * seconds / options.kills
        process = subprocess.Popen(command("soak_killed", overrides), stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(timeout=moment)
            print(f"it ended by itself before the kill number {number + 1}", flush=True)
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done = max(losses("soak_killed"), default=-1) + 1
            moments.append(done)
            print(f"kill {number + 1} after {moment:.0f} s, {done} steps in the log", flush=True)
    subprocess.run(command("soak_killed", overrides), check=True, stdout=subprocess.DEVNULL)
    whole, killed = losses("soak_whole"), losses("soak_killed")
    differing = [step for step in sorted({*whole, *killed}) if whole[step] != killed[step] or len(whole[step]) != 1]
    print(f"{len(moments)} kills, {len(whole)} steps: {len(whole) - len(differing)} losses equal to the last bit")
    if differing:
        sys.exit(f"differing steps: {differing[:20]}, such as {whole[differing[0]]} and {killed[differing[0]]}")


if __name__ == "__main__":
    main()
