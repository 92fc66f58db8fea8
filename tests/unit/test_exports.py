"""Whatever a public signature names can be imported from the package."""

from __future__ import annotations

import ast
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

import flash_sandbox

CLASSES = [value for value in vars(flash_sandbox).values() if inspect.isclass(value)]
FUNCTIONS = [flash_sandbox.connect, flash_sandbox.connect_async]

SPECIAL = {"__init__", "__iter__", "__aiter__", "__next__", "__anext__"}
EXPORTED = set(flash_sandbox.__all__)


@cache
def names_of_ours(module: str) -> frozenset[str]:
    """Return the names in a module that this package gave them, but for type variables and private ones."""
    source = inspect.getsource(sys.modules[module])
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            found.add(node.name)
    # An `ExecResultBehaviour` is what `ExecResult` adds by hand: a caller has the latter.
    return frozenset(name.removesuffix("Behaviour") for name in found if not name.startswith("_"))


def public_signatures(kind: type[Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(kind):
        if name.startswith("_") and name not in (
            "__init__",
            "__iter__",
            "__aiter__",
            "__next__",
            "__anext__",
        ):
            continue
        value = inspect.getattr_static(kind, name)
        value = getattr(value, "__func__", getattr(value, "fget", value))
        if inspect.isfunction(value):
            yield name, value


def mentioned(function: Callable[..., Any]) -> set[str]:
    """Return the names of ours in the annotations of a function."""
    found: set[str] = set()
    for hint in function.__annotations__.values():
        if not isinstance(hint, str):
            found |= {
                each.__name__ for each in classes_in(hint) if each.__module__.startswith("flash_sandbox")
            }
            continue
        nodes = [node for node in ast.walk(ast.parse(hint)) if isinstance(node, ast.Name)]
        names = {node.id.removesuffix("Behaviour") for node in nodes}
        found |= names & names_of_ours(inspect.unwrap(function).__globals__["__name__"])
    return found


def classes_in(hint: Any) -> Iterator[type[Any]]:
    if inspect.isclass(hint):
        yield hint
    for argument in typing.get_args(hint):
        yield from classes_in(argument)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_names_of_signatures_are_exported(kind: type[Any]) -> None:
    missing = {name: mentioned(function) - EXPORTED for name, function in public_signatures(kind)}
    assert {name: names for name, names in missing.items() if names} == {}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_names_of_the_functions_signatures_are_exported(function: Callable[..., Any]) -> None:
    assert mentioned(function) - EXPORTED == set()


def test_the_search_finds_what_is_there() -> None:
    assert mentioned(flash_sandbox.Sandbox.create) >= {"StartType", "Network", "SandboxAPI", "NotGiven"}
    assert mentioned(flash_sandbox.Files.upload) >= {"Progress", "NotGiven"}
    assert mentioned(flash_sandbox.ListSandboxesResult.__init__) == {"SandboxInfo"}
    assert mentioned(flash_sandbox.HTTPClient.__init__) == {"Session"}
