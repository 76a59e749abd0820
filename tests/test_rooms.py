"""A room (a package or module below ``melle``) imports only from rooms below it: there is no circle."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]


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


def test_there_is_no_circle_between_rooms():
    below: dict[str, set[str]] = {}
    for path in (ROOT / "src" / "melle").rglob("*.py"):
        room = path.relative_to(ROOT / "src" / "melle").parts[0].removesuffix(".py")
        if room != "__init__":
            below.setdefault(room, set()).update(rooms_imported(path) - {room})
    names = re.findall(r"melle\.(\w+)\.[\w.]+", (ROOT / "conf" / "evaluate.yaml").read_text())
    below["evaluation"] |= set(names) - {"evaluation"}  # what its configuration names, it needs as well
    assert {"training", "evaluation", "synthesis", "data"} <= below.keys()
    order = list(TopologicalSorter(below).static_order())  # raises CycleError where there is one
    assert order.index("evaluation") < order.index("training")
