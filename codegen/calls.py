"""The calls of the clients that the specs alone decide: a request is made of arguments, and answered."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from . import openapi, protobuf, tools
from .attributes import attribute, model_name
from .docstrings import TIMEOUT, Docstring, raised
from .models import behaviours
from .parameters import Parameter, parameters
from .vocabulary import Operation, SpecError, Vocabulary

__all__ = ["CALLS", "derive"]

SOURCE: Final = Path("flash_sandbox/clients/aio")
CALLS: Final = SOURCE / "operation_calls.py"

_COMPLETED: Final = "completed"
_TIMEOUT: Final = "timeout: float | NotGiven | None = NOT_GIVEN"
_HEAD: Final = '''\
# Generated from specs/ by `python -m codegen`; do not edit.
"""The calls that make a request of their arguments, and return what is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from ... import models, operations
from ...models import {names}
from ...models.checks import milliseconds
from ...options import NOT_GIVEN, NotGiven
from .calls import AsyncCalls, given, milliseconds_of

__all__ = ["AsyncOperationCalls"]


class AsyncOperationCalls(AsyncCalls):
    """Makes each call that the specs decide alone."""

'''


def derive(root: Path) -> dict[Path, str]:
    """Return the text of the module of calls, by its path below `root`.

    An operation that a hand-written class of the clients has as a method is left out.

    Raises:
        SpecError: An operation streams, and no class has it, or there is no rule for a field.
    """
    http, grpc = openapi.load(root), protobuf.load(root)
    written = _written(root)
    known = behaviours(root)
    methods = [
        _method(http.operations[name], operation, http, known)
        for name, operation in grpc.operations.items()
        if name in http.operations and name not in written
    ]
    names = [*(word.name for word in http.words), *(model_name(name) for name in grpc.messages)]
    return {CALLS: tools.format_python(_HEAD.format(names=", ".join(names)) + "\n".join(methods))}


def _written(root: Path) -> set[str]:
    """Return the names of the methods that a person has written."""
    paths = (path for path in (root / SOURCE).glob("*_calls.py") if path.name != CALLS.name)
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    return {node.name for node in nodes if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)}


def _method(
    http: Operation, grpc: Operation, vocabulary: Vocabulary, known: Mapping[str, frozenset[str]]
) -> str:
    if grpc.streams:
        raise SpecError(f"{grpc.place}: {grpc.name} streams: {SOURCE} needs a method of that name")
    taken = parameters(http, grpc, vocabulary)
    listed = [one.source for one in taken if one.positional]
    listed += ["*", *(one.source for one in taken if not one.positional), _TIMEOUT]
    docstring = Docstring(
        http.doc,
        (http.details,) if http.details else (),
        {one.name: one.doc for one in taken} | {"timeout": TIMEOUT},
        raised(http),
    )
    request = _request(grpc.request.name, taken)
    if _COMPLETED in known.get(grpc.request.name, ()):
        request += f".{_COMPLETED}()"
    returned, answer = _answer(http, grpc, vocabulary)
    performed = f"await self._perform(operations.{grpc.name.upper()}, request, timeout)"
    return (
        f"    async def {grpc.name}(self, {', '.join(listed)}) -> {returned}:\n"
        f"{docstring.source()}"
        f"        request = {request}\n"
        f"        {answer.format(performed)}\n"
    )


def _request(name: str, taken: list[Parameter]) -> str:
    fields = [f"{one.field}={one.value}" for one in taken if not one.left_out]
    maybe = [f"{one.field}={one.value}" for one in taken if one.left_out]
    if maybe:
        fields.append(f"**given({', '.join(maybe)})")
    return f"models.{name}({', '.join(fields)})"


def _answer(http: Operation, grpc: Operation, vocabulary: Vocabulary) -> tuple[str, str]:
    """Return the type that a method returns, and the statement that does, around its call."""
    fields = [http.response.fields[name] for name in grpc.response.fields if name in http.response.fields]
    if not fields:
        return "None", "{}"
    if http.returns:
        fields = [field for field in fields if field.name == http.returns]
    elif len(fields) > 1:
        return model_name(grpc.response.name), "return {}"
    annotation = attribute(fields[0], False, vocabulary).annotation
    value = f"({{}}).{fields[0].name}"
    if http.lists:
        annotation, value = annotation.replace("tuple[", "list[").replace(", ...]", "]"), f"list({value})"
    return annotation, f"return {value}"
