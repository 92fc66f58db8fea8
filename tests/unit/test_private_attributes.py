"""No private attribute of another package's object is read or set, but in transports/workarounds.py."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
EXCEPTION: Final = ROOT / "flash_sandbox" / "transports" / "workarounds.py"
FILES: Final = sorted(
    path
    for path in (*ROOT.glob("flash_sandbox/**/*.py"), *ROOT.glob("codegen/*.py"), ROOT / "hatch_build.py")
    if path != EXCEPTION
)
OWN: Final = ("flash_sandbox", "codegen", "hatch_build")
# The documentation of Python has these.
PUBLIC: Final = {"os._exit"}
BY_NAME: Final = ("getattr", "setattr", "hasattr", "delattr")
OF_PYTHON: Final = {
    *(name for kind in (object, type, type(lambda: None), type(sys)) for name in dir(kind)),
    *(
        f"__{name}__"
        for name in (
            "cause",
            "context",
            "enter",
            "exit",
            "func",
            "post_init",
            "signature",
            "traceback",
            "wrapped",
        )
    ),
    *(
        f"__{name}__"
        for name in ("aenter", "aexit", "aiter", "anext", "iter", "next", "getitem", "len", "del")
    ),
}


def accesses(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield line, object and name of each access to a private attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, ast.unparse(node.value), node.attr
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.lineno, "a call", node.arg
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in BY_NAME and len(node.args) > 1:
            yield node.lineno, ast.unparse(node.args[0]), ast.unparse(node.args[1]).strip("'")


def is_private(name: str) -> bool:
    return name.startswith("_") and name != "_" and name not in OF_PYTHON


def defined(tree: ast.AST) -> set[str]:
    """Return the names that the classes and functions of a source define, on `self` and `cls`, too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node.value) in ("self", "cls")
        ):
            found.add(node.attr)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_private_attributes_of_objects_are_those_of_classes_in_the_same_module(path: Path) -> None:
    tree = ast.parse(path.read_text())
    own = defined(tree)
    foreign = [
        f"line {line}: {owner}.{name}"
        for line, owner, name in accesses(tree)
        if is_private(name)
        and name not in own
        and owner not in ("self", "cls", "super()")
        and f"{owner}.{name}" not in PUBLIC
    ]
    assert not foreign


@cache
def source_of(kind: type[Any]) -> ast.AST:
    """Return the source of a class; nothing where it is not written in Python, or not as a class."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError):
        return ast.Module([], [])


def _privates_of(kind: type[Any]) -> set[str]:
    return {name for name in defined(source_of(kind)) if is_private(name) and not name.endswith("__")}


def _classes() -> Iterator[type[Any]]:
    for path in FILES:
        if path.name != "__main__.py" and path.parts[-2] != "integrations":
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            module = importlib.import_module(name)
            yield from (
                each
                for each in vars(module).values()
                if isinstance(each, type) and each.__module__ == module.__name__
            )


def test_classes_neither_use_nor_hide_private_names_of_foreign_bases() -> None:
    hits = []
    derived = 0
    for kind in _classes():
        bases = [base for base in kind.__mro__ if base.__module__.partition(".")[0] not in OWN]
        private = set().union(*map(_privates_of, bases))
        if private:
            derived += 1
            tree = source_of(kind)
            used = defined(tree) | {
                name for _, owner, name in accesses(tree) if owner in ("self", "cls", "super()")
            }
            hits += [f"{kind.__module__}.{kind.__qualname__}: {name}" for name in sorted(used & private)]
    assert not hits
    # The test looks at something.
    assert derived > 10
