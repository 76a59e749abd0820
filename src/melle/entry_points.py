"""Where the scripts are, and how commands are typed: in a clone at its top, from a wheel beside this file.

``setup.py`` puts train.py, evaluate.py and conf/ into a wheel, which has the commands ``melle-train`` and
``melle-evaluate``; an editable installation has them, too, and runs the clone's.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"  # of a wheel
TOP = Path(__file__).parents[2]  # of a clone


def train() -> None:
    """The command ``melle-train``: what ``python train.py`` is in a clone."""
    run_script("train")


def evaluate() -> None:
    """The command ``melle-evaluate``: what ``python evaluate.py`` is in a clone."""
    run_script("evaluate")


def run_script(name: str) -> None:
    """Run a script as Python runs one, so that processes which it starts find it as ``sys.argv[0]``."""
    runpy.run_path(str((SCRIPTS if SCRIPTS.is_dir() else TOP) / f"{name}.py"), run_name="__main__")


def as_installed(text: str) -> str:
    """A text with commands of a clone, with those of a wheel in their place where there is no clone."""
    if not SCRIPTS.is_dir():
        return text
    text = re.sub(r'-e "\.\[([\w,]+)\]"', r'"melle-lightning[\1]"', text)
    return re.sub(r"\bpython (train|evaluate)\.py", r"melle-\1", text)
