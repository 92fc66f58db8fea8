"""The orchestrator's packages lie on floors: an import goes down, never up, and never round."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import flash_sandbox.orchestrator

_ROOT: Final = Path(flash_sandbox.orchestrator.__file__).parent
_NAME: Final = flash_sandbox.orchestrator.__name__
# From the top. Those of one line do not import each other.
_FLOORS: Final = (
    ("embedded_process",),
    ("embedded",),
    ("doors",),
    ("core",),
    ("runtimes",),
    ("guest", "snapshots"),
    ("images",),
    ("archives", "state"),
    ("linux",),
    ("cancellation", "version"),
)
_FLOOR_OF: Final = {room: number for number, rooms in enumerate(_FLOORS) for room in rooms}


def _modules() -> dict[str, Path]:
    """Return the files of the orchestrator's modules, by name below the package."""
    found = {}
    for path in _ROOT.rglob("*.py"):
        parts = path.relative_to(_ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


_MODULES: Final = _modules()


def _statements(tree: ast.Module, *, types: bool) -> Iterator[ast.ImportFrom | ast.Import]:
    """Yield the imports of a module, those for type checkers alone only with `types`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom | ast.Import):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types:
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _imports(module: str, *, types: bool) -> set[str]:
    """Return the modules of the orchestrator that one of them imports."""
    path = _MODULES[module]
    package = [*_NAME.split("."), *(module.split(".") if module else [])]
    if path.name != "__init__.py":
        package.pop()
    named = set()
    for node in _statements(ast.parse(path.read_text()), types=types):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
            continue
        base = package[: len(package) - node.level + 1] if node.level else []
        source = ".".join([*base, *([node.module] if node.module else [])])
        named |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    below = {name.removeprefix(f"{_NAME}.") for name in named if name.startswith(f"{_NAME}.")}
    return below & _MODULES.keys() - {module, ""}


def test_every_package_has_its_floor() -> None:
    assert {name.partition(".")[0] for name in _MODULES if name} == _FLOOR_OF.keys()


def test_an_import_goes_down() -> None:
    upward = [
        f"{module} imports {imported}"
        for module in _MODULES
        if module
        for imported in _imports(module, types=True)
        if module.partition(".")[0] != (room := imported.partition(".")[0])
        and _FLOOR_OF[room] <= _FLOOR_OF[module.partition(".")[0]]
    ]
    assert not upward


def test_no_import_goes_round() -> None:
    graph = {module: _imports(module, types=False) for module in _MODULES}
    # Raises CycleError, which names the modules.
    assert len(tuple(graphlib.TopologicalSorter(graph).static_order())) == len(_MODULES)


def test_a_circle_would_be_found() -> None:
    assert "core.files" in _imports("core.service", types=False)
    assert "doors.connection" in _imports("doors.connections", types=True)
    assert "doors.connection" not in _imports("doors.connections", types=False)
