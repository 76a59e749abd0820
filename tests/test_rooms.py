"""Rooms (packages and modules below ``melle``) import only from rooms below them; they and their files are small."""

import ast
import re
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES, FILES = 350, 20  # the most of a file, and of a folder
FLOORS = (  # CONTRIBUTING.md's table, row by row
    {"model", "losses"},
    {"text", "audio"},
    {"data", "alignment", "corpora"},
    {"vocoders", "checkpoint", "pretrained", "reference", "reference_weights"},
    {"synthesis", "serving", "onnx"},
    {"evaluation"},
    {"training"},
    {"commands", "cli", "__main__"},
)
FRAMEWORKS = {"lightning", "hydra", "omegaconf"}


def rooms_imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "melle":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("melle."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("melle.")}
    return found


def rooms_below() -> dict[str, set[str]]:
    below: dict[str, set[str]] = {}
    for path in (ROOT / "src" / "melle").rglob("*.py"):
        room = path.relative_to(ROOT / "src" / "melle").parts[0].removesuffix(".py")
        if room != "__init__":
            below.setdefault(room, set()).update(rooms_imported(path) - {room})
    return below


def test_a_room_imports_from_its_own_floor_and_those_below():
    below, known = rooms_below(), set().union(*FLOORS)
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M)
    shown = [set(re.findall(r"`(\w+)(?:\.py)?`", row)) for row in rows]
    assert shown == [floor & set().union(*shown) for floor in FLOORS]
    small = below.keys() - known
    assert all(below[room] <= small for room in small)  # which all may use
    allowed = set(small)
    for floor in FLOORS:
        allowed |= floor
        assert not {(room, other) for room in floor for other in below[room] - allowed - {"__version__"}}


def test_the_model_knows_nothing_of_frameworks():
    for path in [*(ROOT / "src" / "melle" / "model").rglob("*.py"), ROOT / "src" / "melle" / "losses.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not FRAMEWORKS & {name.split(".")[0] for name in names}, path


def test_there_is_no_circle_between_rooms():
    below = rooms_below()
    names = re.findall(r"melle\.(\w+)\.[\w.]+", (ROOT / "conf" / "evaluate.yaml").read_text())
    below["evaluation"] |= set(names) - {"evaluation"}  # what its configuration names, it needs as well
    assert {"training", "evaluation", "synthesis", "data"} <= below.keys()
    order = list(TopologicalSorter(below).static_order())  # raises CycleError where there is one
    assert order.index("evaluation") < order.index("training")


def test_files_and_rooms_are_small():
    files = [path for folder in ("src", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert not {str(path) for path in files if len(path.read_text(encoding="utf-8").splitlines()) > LINES}
    folders = Counter(path.parent.relative_to(ROOT).as_posix() for path in files)
    assert not {folder for folder, count in folders.items() if count > FILES}
    # Without it setuptools leaves a folder out of a wheel.
    packages = {path.parent for path in files if "melle" in path.parts and "hydra_plugins" not in path.parts}
    assert not {str(folder) for folder in packages if not (folder / "__init__.py").is_file()}


def test_private_attributes_of_lightning_and_hydra_are_touched_in_one_file():
    private = re.compile(r"\b(trainer|module|pl_module|strategy|logger|hydra|cfg|HydraConfig|GlobalHydra)\._(?!_)(\w+)")
    found = {path.name for path in (ROOT / "src").rglob("*.py") if private.search(path.read_text(encoding="utf-8"))}
    assert len(found) <= 1, found


def names_of(path: Path) -> set[str]:
    """What a module defines or imports at its top level, under whatever condition; a package's modules too."""
    found = {child.stem for child in path.parent.iterdir()} if path.name == "__init__.py" else set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_what_is_imported_within_functions_exists_too():
    wrong = []
    for place in (ROOT / "src", ROOT / "benchmarks"):
        for path in place.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "melle":
                    continue
                module = ROOT / "src" / node.module.replace(".", "/")
                source = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
                known = names_of(source) if source.is_file() else set()
                wrong += [f"{path}: {node.module}.{alias.name}" for alias in node.names if alias.name not in known]
    assert not wrong
