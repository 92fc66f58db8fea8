"""No module imports in a circle; the orchestrator's packages lie on floors, and an import goes down."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import flash_sandbox
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
    ("network",),
    ("guest", "snapshots"),
    ("images", "volumes"),
    ("archives", "state"),
    ("linux",),
    ("cancellation", "version"),
)
_FLOOR_OF: Final = {room: number for number, rooms in enumerate(_FLOORS) for room in rooms}


def _modules(root: Path) -> dict[str, Path]:
    """Return the files of a package's modules, by name below the package."""
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


_MODULES: Final = _modules(_ROOT)


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


def _imports(module: str, *, types: bool, modules: dict[str, Path] = _MODULES, name: str = _NAME) -> set[str]:
    """Return the modules of a package, the orchestrator where none is named, that one of them imports."""
    path = modules[module]
    package = [*name.split("."), *(module.split(".") if module else [])]
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
    below = {each.removeprefix(f"{name}.") for each in named if each.startswith(f"{name}.")}
    return below & modules.keys() - {module, ""}


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


def test_no_import_of_the_client_half_goes_round_not_even_for_types() -> None:
    modules = _modules(Path(flash_sandbox.__file__).parent)
    graph = {
        module: _imports(module, types=True, modules=modules, name=flash_sandbox.__name__)
        for module in modules
        if module.partition(".")[0] != "orchestrator"
    }
    assert tuple(graphlib.TopologicalSorter(graph).static_order())
    assert "models.checks" in graph["models.messages"]


def test_a_circle_would_be_found() -> None:
    assert "core.files" in _imports("core.service", types=False)
    assert "doors.connection" in _imports("doors.connections", types=True)
    assert "doors.connection" not in _imports("doors.connections", types=False)
