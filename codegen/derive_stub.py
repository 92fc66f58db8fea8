"""The synchronous gRPC stub, derived from betterproto2's asynchronous one.

betterproto2's own synchronous stub takes neither a timeout nor metadata.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

__all__ = ["derive"]

# The type of a request with `messages` of a stream, and of an answer.
_KINDS: Final = {
    "unary_unary": ("{request}", "{answer}"),
    "unary_stream": ("{request}", "Iterator[{answer}]"),
    "stream_unary": ("Iterable[{request}]", "{answer}"),
    "stream_stream": ("Iterable[{request}]", "Iterator[{answer}]"),
}

_HEAD: Final = '''\
"""The synchronous stub, derived from the asynchronous one; for ``grpc.Channel`` and what has its methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from .sandbox import {names}

__all__ = ("Channel", "Metadata", "Parse", "Serialize", "{stub}")

Metadata = Sequence[tuple[str, str | bytes]]
Parse = Callable[[bytes], Any]
Serialize = Callable[[Any], bytes]


class Channel(Protocol):
    """Makes calls. ``grpc.Channel`` is one, and so is ``grpc.aio.Channel``, whose answers are awaited."""
'''

_METHOD_OF_CHANNEL: Final = '''
    def {kind}(
        self, method: str, request_serializer: Serialize, response_deserializer: Parse
    ) -> Callable[..., Any]:
        """Return a function that makes a call, given its {message}, `timeout` and `metadata`."""
        ...
'''

_CLASS: Final = '''

def _parsed(message_class: Any, data: bytes) -> Any:
    return message_class.parse(data)


class {stub}:
    """
    {doc}

    Args:
        channel: Makes the calls.
        serialize: Writes a message.
        parse: Reads a message, given its class.
        prefix: Goes before the path of each method, for a proxy that routes by paths.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        serialize: Serialize = bytes,
        parse: Callable[[Any, bytes], Any] = _parsed,
        prefix: str = "",
    ) -> None:
        self._channel = channel
        self._serialize = serialize
        self._parse = parse
        self._prefix = prefix
'''

_METHOD: Final = '''
    def {name}(
        self, {message}: {request}, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> {returned}:
        """
        {doc}
        """
        call = self._channel.{kind}(self._prefix + {route}, self._serialize, partial(self._parse, {answer}))
        answered: {returned} = call({message}, timeout=timeout, metadata=metadata)
        return answered
'''


def derive(source: str) -> str:
    """Return the module of the synchronous stub, given that of the messages and of the asynchronous stub.

    Raises:
        StopIteration: There is no asynchronous stub.
    """
    kinds = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    stub = next(node for node in kinds if node.name.endswith("Stub"))
    name = stub.name.removesuffix("Stub") + "SyncStub"
    methods = [_method(node) for node in stub.body if isinstance(node, ast.AsyncFunctionDef)]
    names = sorted({each for method in methods for each in (method["sent"], method["answer"])})
    channel = (
        _METHOD_OF_CHANNEL.format(kind=kind, message="message" if kind.startswith("unary") else "messages")
        for kind in sorted({method["kind"] for method in methods})
    )
    return "".join(
        (
            _HEAD.format(names=", ".join(names), stub=name),
            *channel,
            _CLASS.format(stub=name, doc=ast.get_docstring(stub)),
            *(_METHOD.format(**method) for method in methods),
        )
    )


def _method(node: ast.AsyncFunctionDef) -> dict[str, str]:
    """Return what `_METHOD` needs to know of a method of the asynchronous stub."""
    call = next(_calls(node))
    kind = call.func.attr.removeprefix("_")  # type: ignore[attr-defined]
    # The route, the message or the messages, for messages their class, and the class of the answer.
    route, message, *classes = (ast.unparse(argument) for argument in call.args)
    annotation = node.args.args[1].annotation
    assert isinstance(annotation, ast.Constant)
    # A message without fields may be left out there.
    given = str(annotation.value).removesuffix(" | None")
    sent, answer = (classes[0] if len(classes) == 2 else given), classes[-1]
    request, returned = (text.format(request=sent, answer=answer) for text in _KINDS[kind])
    return {
        "name": node.name,
        "doc": (ast.get_docstring(node) or "").replace("\n", "\n        "),
        "kind": kind,
        "route": route,
        "message": message,
        "sent": sent,
        "request": request,
        "answer": answer,
        "returned": returned,
    }


def _calls(node: ast.AsyncFunctionDef) -> Iterator[ast.Call]:
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute):
            yield each
