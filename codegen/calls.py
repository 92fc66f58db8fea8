"""The calls of the clients that the specs alone decide: a request is made of arguments, and answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import openapi, protobuf, tools
from .attributes import attribute, model_name
from .derive_interfaces import SOURCE, methods
from .docstrings import (
    TIMEOUT,
    TIMEOUT_OF_COMMAND,
    TIMEOUT_OF_PAGE,
    TIMEOUT_OF_STREAM,
    Docstring,
    raised,
)
from .models import behaviours
from .parameters import Parameter, parameters, waits
from .vocabulary import Operation, SpecError, Vocabulary

__all__ = ["OPERATION_CALLS", "STREAM_CALLS", "TIMEOUT_SOURCE", "derive", "imports", "signature"]

OPERATION_CALLS: Final = SOURCE / "operation_calls.py"
STREAM_CALLS: Final = SOURCE / "stream_calls.py"

TIMEOUT_SOURCE: Final = "timeout: float | NotGiven | None = NOT_GIVEN"
_IMPORTS: Final = """\
from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Self, cast

from ... import models, operations
from ...models import {names}
from ...models.checks import milliseconds
from ...models.volumes import Volume
from ...models.secret import Secret
from ...options import NOT_GIVEN, NotGiven
"""
_HEAD: Final = "# Generated from specs/ by `python -m codegen`; do not edit.\n"
_OPERATION_CALLS: Final = '''\
"""The calls that make a request of their arguments, and return what is answered."""

{imports}
from ..bound import Bound
from .calls import AsyncCalls, milliseconds_of

__all__ = ["AsyncOperationCalls"]


class AsyncOperationCalls(AsyncCalls):
    """Makes each call that the specs decide alone, and that is answered at once."""

{methods}
'''
_STREAM_CALLS: Final = '''\
"""The calls whose answer is a stream that the specs decide alone."""

{imports}
from .. import continuation
from .calls import milliseconds_of
from .operation_calls import AsyncOperationCalls
from .streams import AsyncEvents, AsyncExecStream, AsyncFrames, first_of

__all__ = ["AsyncStreamCalls"]


class AsyncStreamCalls(AsyncOperationCalls):
    """Makes each call whose answer is a stream."""

{methods}
'''
_PAGES: Final = """

    async def {name}({signature}) -> AsyncIterator[{item}]:
{docstring}\
        page_token: str | None = None
        while page_token != "":
            page = await self.{operation}({passed}page_size={most}, page_token=page_token, timeout=timeout)
            for each in page.{name}:
                yield each
            page_token = page.next_page_token
"""
# What such a stream needs besides its pieces.
_NEEDS: Final = {"ExecStream": "self, sandbox_id, "}
_COMPLETED: Final = "completed"


@dataclass(frozen=True, slots=True)
class _Specs:
    """What methods are made of.

    Attributes:
        http: HTTP's spec.
        known: The methods that a person has added to each model.
    """

    http: Vocabulary
    known: Mapping[str, frozenset[str]]


def derive(root: Path) -> dict[Path, str]:
    """Return the text of each module of calls, by its path below `root`.

    An operation that a hand-written class of the clients has as a method is left out.

    Raises:
        SpecError: An operation streams, but no class is told for it, or there is no rule for a field.
    """
    http, grpc = openapi.load(root), protobuf.load(root)
    written = _written(root)
    specs = _Specs(http, behaviours(root))
    todo = [one for name, one in grpc.operations.items() if name in http.operations and name not in written]
    texts = {}
    for path, head, streams in (
        (OPERATION_CALLS, _OPERATION_CALLS, False),
        (STREAM_CALLS, _STREAM_CALLS, True),
    ):
        made = [_method(one, specs) for one in todo if (one.streams == "response") == streams]
        text = head.format(imports=imports(http, grpc), methods="\n".join(made))
        texts[path] = tools.format_python(_HEAD + text)
    return texts


def _written(root: Path) -> set[str]:
    """Return the names of the methods that a person has written."""
    generated = (OPERATION_CALLS.name, STREAM_CALLS.name)
    paths = (path for path in (root / SOURCE).glob("*_calls.py") if path.name not in generated)
    return {method.name for path in paths for method in methods(path.read_text("utf-8"))}


def imports(http: Vocabulary, grpc: Vocabulary) -> str:
    """Return what a generated module of the clients may need; what it does not is left out of it."""
    names = [*(word.name for word in http.words), *(model_name(name) for name in grpc.messages)]
    return _IMPORTS.format(names=", ".join(names))


def signature(taken: list[Parameter], *more: str) -> str:
    """Return what is between the parentheses after a method's name.

    Args:
        taken: Its parameters.
        more: What it takes by keyword besides them, as source.
    """
    listed = ["self", *(one.source for one in taken if one.positional)]
    return ", ".join([*listed, "*", *(one.source for one in taken if not one.positional), *more])


def _method(grpc: Operation, specs: _Specs) -> str:
    http = specs.http.operations[grpc.name]
    taken = parameters(http, grpc, specs.http)
    timeout = TIMEOUT_OF_STREAM if grpc.streams else TIMEOUT
    if waits(http):
        timeout = (
            f"{TIMEOUT_OF_COMMAND} Without `limit` it is that of the command, and the call may take a few "
            "seconds more."
        )
    docstring = Docstring(
        http.doc,
        http.details,
        {one.name: one.doc for one in taken} | {"timeout": timeout},
        raised(http),
    )
    returned, statements = _answer(http, grpc, specs.http)
    if http.bounded:
        statements.insert(0, "bound = Bound(path, max_bytes)")
    if waits(http):
        statements.insert(0, "timeout_ms, seconds = self._command_options(limit, timeout)")
    request = _request(grpc.request.name, taken, specs)
    lines = [line.format(request=request) for line in statements]
    return (
        f"    async def {grpc.name}({signature(taken, TIMEOUT_SOURCE)}) -> {returned}:\n"
        f"{docstring.source()}" + "".join(f"        {line}\n" for line in lines) + _pages(http, grpc, taken)
    )


def _pages(http: Operation, grpc: Operation, taken: list[Parameter]) -> str:
    """Return the method that yields what all pages hold; nothing for an operation without pages."""
    token, more = (http.request.fields.get(name) for name in ("page_token", "page_size"))
    if token is None or more is None:
        return ""
    (items,) = (field for field in http.response.fields.values() if field.repeated)
    shown = [one for one in taken if not one.name.startswith("page_")]
    docstring = Docstring(
        http.doc.replace("Return a page of", "Yield each of").removesuffix(".") + ", page by page.",
        http.details,
        {one.name: one.doc for one in shown} | {"timeout": TIMEOUT_OF_PAGE},
        raised(http),
    )
    passed = "".join(f"{one.name}={one.name}, " for one in shown)
    return _PAGES.format(
        name=items.name,
        signature=signature(shown, TIMEOUT_SOURCE),
        item=model_name(items.type),
        docstring=docstring.source(),
        operation=grpc.name,
        passed=passed,
        most=more.schema["maximum"],
    )


def _request(name: str, taken: list[Parameter], specs: _Specs) -> str:
    fields = (f"{one.field}={one.value}" for one in taken if one.field)
    completed = f".{_COMPLETED}()" if _COMPLETED in specs.known.get(name, ()) else ""
    return f"models.{name}({', '.join(fields)}){completed}"


def _answer(http: Operation, grpc: Operation, vocabulary: Vocabulary) -> tuple[str, list[str]]:
    """Return the type that a method returns, and the statements that make the call."""
    row = f"operations.{grpc.name.upper()}"
    if grpc.streams == "response":
        if not http.returns:
            raise SpecError(f"{grpc.place}: {grpc.name} streams: it needs x-returns, or a method in {SOURCE}")
        going_on = f", continuation.{grpc.name}" if http.outlasts else ""
        made = f"Async{http.returns}({_NEEDS.get(http.returns, '')}pieces, await first_of(pieces))"
        return f"Async{http.returns}", [
            "request = {request}",
            f"pieces = self._stream({row}, request, timeout{going_on})",
            f"return {made}",
        ]
    if grpc.streams == "request":
        called = f"await self._send({row}, request, chunks, timeout)"
    else:
        called = f"await self._perform({row}, request, {'seconds' if waits(http) else 'timeout'})"
    returned, answer = _result(http, grpc, vocabulary)
    if http.bounded:
        answer = f"return bound.checked({answer.removeprefix('return ')})"
    return returned, ["request = {request}", answer.replace("CALL", called)]


def _result(http: Operation, grpc: Operation, vocabulary: Vocabulary) -> tuple[str, str]:
    """Return the type that a method returns, and the statement that does so around its CALL."""
    fields = [http.response.fields[name] for name in grpc.response.fields if name in http.response.fields]
    if not fields:
        return "None", "CALL"
    if http.returns:
        fields = [field for field in fields if field.name == http.returns]
    elif len(fields) > 1:
        return model_name(grpc.response.name), "return CALL"
    annotation = attribute(fields[0], False, vocabulary).annotation
    value = f"(CALL).{fields[0].name}"
    if http.lists:
        annotation, value = annotation.replace("tuple[", "list[").replace(", ...]", "]"), f"list({value})"
    return annotation, f"return {value}"
