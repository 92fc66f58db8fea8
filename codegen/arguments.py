"""Whether the clients describe their arguments as both specs describe the fields that these are."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .vocabulary import Field, Vocabulary, fold

__all__ = ["described_otherwise"]

_SOURCE: Final = Path("flash_sandbox/clients/aio")
# Methods of an object, and arguments, that have a shorter name there than in the specs.
_OPERATIONS: Final = {
    "create": "start_sandbox",
    "list": "list_sandboxes",
    "run": "exec_command",
    "sandboxes": "list_sandboxes",
    "start": "start_process",
}
_FIELDS: Final = {"sandbox_id": "id", "ttl": "ttl_seconds"}
_ENTRIES: Final = re.compile(r"^Args:\n(.*?)(?=^\S|\Z)", re.DOTALL | re.MULTILINE)
_ENTRY: Final = re.compile(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", re.DOTALL | re.MULTILINE)
# What the zero value stands for, None does in Python.
_ZERO: Final = re.compile(r"(?<=\. )(?:0|Empty)(?= [a-z])")
_WHAT_ZERO_IS: Final = re.compile(r" (?:0|Empty) is [^.]+\.$")


def described_otherwise(root: Path, vocabulary: Vocabulary) -> list[str]:
    """Return each argument that is a field, but whose description does not begin with that of the field.

    Args:
        root: The repository.
        vocabulary: Where fields are described.
    """
    found: list[str] = []
    for path in sorted((root / _SOURCE).glob("*.py")):
        text = path.read_text("utf-8")
        # What is generated says what the specs do.
        for method in _methods(ast.parse(text)) if not text.startswith("# ") else ():
            operation = vocabulary.operations.get(_OPERATIONS.get(method.name, method.name))
            if operation is not None:
                place = f"{path.relative_to(root)}:{method.lineno}"
                found += (f"{place}: {wrong}" for wrong in _wrong(method, operation.request.fields))
    return found


def _methods(module: ast.Module) -> Iterator[ast.AsyncFunctionDef | ast.FunctionDef]:
    for kind in (node for node in module.body if isinstance(node, ast.ClassDef)):
        for node in kind.body:
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and ast.get_docstring(node):
                yield node


def _wrong(method: ast.AsyncFunctionDef | ast.FunctionDef, fields: dict[str, Field]) -> Iterator[str]:
    entries = _entries(ast.get_docstring(method) or "")
    for name, default in _arguments(method.args):
        field = fields.get(_FIELDS.get(name, name))
        if field is not None:
            may_be_none = isinstance(default, ast.Constant) and default.value is None
            wanted = _ZERO.sub("None", field.doc) if may_be_none else _WHAT_ZERO_IS.sub("", field.doc)
            if not entries.get(name, "").replace("`", "").startswith(wanted):
                yield f"{name} of {method.name} must begin with {wanted!r}, as {field.place} does"


def _arguments(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield the name of each argument and its default."""
    required = len(arguments.args) - len(arguments.defaults)
    for argument, default in zip(arguments.args, (*[None] * required, *arguments.defaults), strict=True):
        yield argument.arg, default
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield argument.arg, default


def _entries(docstring: str) -> dict[str, str]:
    found = _ENTRIES.search(inspect.cleandoc(docstring))
    return {name: fold(text) for name, text in _ENTRY.findall(found[1])} if found else {}
