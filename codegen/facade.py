"""What the facade takes from the specs: the table of operations, the models, and the words that are types."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from . import openapi, protobuf, tools
from .models import models
from .vocabulary import Operation, Word

__all__ = ["OPERATIONS", "WORDS", "tables"]

OPERATIONS: Final = Path("flash_sandbox/operations.py")
WORDS: Final = Path("flash_sandbox/models/words.py")

_HEADER: Final = "# Generated from specs/ by `python -m codegen`; do not edit.\n"
_TABLE_HEAD: Final = '''\
"""The table of operations: one row each, for both transports, both ends and both colours.

A row's `name` is the facade's method, the service core's method and the OpenAPI operationId;
`rpc` is the gRPC method. Paths and messages follow from the generated layers by these names.
"""

from __future__ import annotations

from typing import Final

from . import models
from .operation import KEEPALIVE, Operation

__all__ = ["KEEPALIVE", "OPERATIONS", "Operation"]

'''
_WORDS_HEAD: Final = '''\
"""Texts with names of their own, as types. A newer orchestrator may answer others, which are read, too."""

from __future__ import annotations

from typing import Literal, TypeAlias

'''


def tables(root: Path) -> dict[Path, bytes]:
    """Return the modules of the facade that the specs alone decide, by their path below `root`."""
    http, grpc = openapi.load(root), protobuf.load(root)
    # An operation that one of the specs lacks is named by the comparison of both.
    both = [
        (http.operations[name], grpc.operations[name]) for name in grpc.operations if name in http.operations
    ]
    rows = "".join(_row(*pair) for pair in both)
    names = "".join(f"    {operation.name.upper()},\n" for _, operation in both)
    table = f'OPERATIONS: Final = (\n{names})\n"""Every operation, in the order of the specs."""\n'
    listed = "".join(f"    {word.name!r},\n" for word in sorted(http.words, key=lambda word: word.name))
    words = f"__all__ = [\n{listed}]\n\n" + "\n".join(_word(word) for word in http.words)
    texts = {OPERATIONS: f"{_TABLE_HEAD}{rows}\n{table}", WORDS: f"{_WORDS_HEAD}{words}"}
    texts |= models(root, http, grpc)
    return {path: tools.format_python(_HEADER + text).encode() for path, text in texts.items()}


def _row(http: Operation, grpc: Operation) -> str:
    result = re.sub("Response$", "Result", grpc.response.name)
    arguments = [
        repr(grpc.name),
        repr(grpc.rpc),
        f"models.{grpc.request.name}",
        f"models.{result}",
    ]
    # Of plain bytes, HTTP carries the data alone.
    streams = "bytes" if http.route and http.route.answer == "bytes" else http.streams
    if http.idempotent:
        arguments.append("repeatable=True")
    if http.keyed:
        arguments.append("keyed=True")
    if http.outlasts:
        arguments.append("outlasts=True")
    if streams:
        arguments.append(f"streams={streams!r}")
    if http.last:
        arguments.append(_set(http.last))
    return f"{grpc.name.upper()}: Final = Operation({', '.join(arguments)})\n"


def _set(values: tuple[str, ...]) -> str:
    return f"last=frozenset({{{', '.join(map(repr, values))}}})"


def _word(word: Word) -> str:
    return f'{word.name}: TypeAlias = Literal[{", ".join(map(repr, word.values))}]\n"""{word.doc}"""\n'
