"""What pyproject.toml cannot say: a wheel holds the scripts and conf/, whose one source is at the top of the clone."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TOP = Path(__file__).parent


def copy_scripts(package: Path) -> None:
    """Put train.py, evaluate.py and conf/ into the folder of the package, where ``melle.entry_points`` looks."""
    place = package / "scripts"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(TOP / "conf", place / "conf")
    for script in ("train.py", "evaluate.py"):
        shutil.copy(TOP / script, place)


class BuildWithScripts(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            copy_scripts(Path(self.build_lib) / "melle")


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildWithScripts})
