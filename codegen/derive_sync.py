"""The synchronous clients and the loop below them, derived from the asynchronous ones by replacing words."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Final

from . import tools

__all__ = ["FOLDERS", "derive"]

FOLDERS: Final = {
    Path("flash_sandbox/clients/aio"): Path("flash_sandbox/clients/sync"),
    Path("flash_sandbox/transports/aio"): Path("flash_sandbox/transports/sync"),
}
"""Each asynchronous folder with the synchronous one that is derived from it."""

_HEADER: Final = "# Derived from {source} by `python -m codegen`; do not edit.\n"

_NAMES: Final = {
    "AsyncArchive": "Archive",
    "AsyncCalls": "Calls",
    "AsyncChannel": "Channel",
    "AsyncChunks": "Chunks",
    "AsyncCommands": "Commands",
    "AsyncDisk": "Disk",
    "AsyncCreation": "Creation",
    "AsyncEvents": "Events",
    "AsyncExecStream": "ExecStream",
    "AsyncFileCalls": "FileCalls",
    "AsyncFiles": "Files",
    "AsyncForward": "Forward",
    "AsyncFrames": "Frames",
    "AsyncGRPCChannel": "GRPCChannel",
    "AsyncGRPCWire": "GRPCWire",
    "AsyncGenerator": "Generator",
    "AsyncGivenCall": "GivenCall",
    "AsyncHTTPClient": "HTTPClient",
    "AsyncHTTPConnections": "HTTPConnections",
    "AsyncHTTPWire": "HTTPWire",
    "AsyncSandbox": "Sandbox",
    "AsyncObjectCalls": "ObjectCalls",
    "AsyncOperationCalls": "OperationCalls",
    "AsyncPieces": "Pieces",
    "AsyncPortCalls": "PortCalls",
    "AsyncPortConnection": "PortConnection",
    "AsyncPorts": "Ports",
    "AsyncProcess": "Process",
    "AsyncProcessControls": "ProcessControls",
    "AsyncRun": "Run",
    "AsyncSandboxAPI": "SandboxAPI",
    "AsyncSandboxCalls": "SandboxCalls",
    "AsyncSnapshotCalls": "SnapshotCalls",
    "AsyncSandboxClient": "SandboxClient",
    "AsyncSession": "Session",
    "AsyncSandboxHandle": "SandboxHandle",
    "AsyncStream": "Stream",
    "AsyncStreamCalls": "StreamCalls",
    "AsyncStubCall": "StubCall",
    "AsyncTransport": "Transport",
    "AsyncWire": "Wire",
    "_AsyncClient": "_Client",
    "_AsyncEndpointClient": "_EndpointClient",
    "AsyncBaseTransport": "BaseTransport",
    "AsyncByteStream": "SyncByteStream",
    "AsyncHTTPConnection": "HTTPConnection",
    "AsyncNetwork": "Network",
    "AsyncPool": "Pool",
    "_AsyncBody": "_Body",
    "async_proxy_pool": "proxy_pool",
    "handle_async_request": "handle_request",
    "aiter_stream": "iter_stream",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "StopAsyncIteration": "StopIteration",
    "AsyncIterable": "Iterable",
    "AsyncIterator": "Iterator",
    "aclose": "close",
    "aclosing": "closing",
    "aio": "sync",
    "aiter_bytes": "iter_bytes",
    "anext": "next",
    # Of which the sources use no more than `sleep`.
    "asyncio": "time",
    "call_async": "call",
    "async_forwarding": "forwarding",
    "async_handle_of": "handle_of",
    "connect_async": "connect",
    "get_async_httpx_client": "get_httpx_client",
    "grpclib_channel": "http2_channel",
}
"""Each name of the asynchronous source that is another one in the synchronous text."""

_WORDS: Final = {
    "an asynchronous": "a synchronous",
    "asynchronous": "synchronous",
    "awaited": "in the thread of the caller",
    "``grpc.aio.Channel``": "``grpc.Channel``",
    "``httpx.AsyncClient``": "``httpx.Client`` or ``requests.Session``",
}
"""Likewise for words in a docstring or a comment."""


def derive(root: Path, derived: Mapping[Path, str]) -> dict[Path, str]:
    """Return the text of each derived file, by its path below `root`.

    Args:
        root: The root of the repository.
        derived: Asynchronous sources that are derived themselves, by their path.

    Raises:
        ValueError: A name with "Async" in it has no synchronous form here.
    """
    paths = [path for folder in FOLDERS for path in (root / folder).glob("*.py")]
    sources = {path.relative_to(root): path.read_text("utf-8") for path in paths}
    texts = {}
    for source, text in sorted((sources | dict(derived)).items()):
        header = _HEADER.format(source=source.as_posix())
        texts[FOLDERS[source.parent] / source.name] = tools.format_python(header + _derived(source, text))
    return texts


def _derived(path: Path, text: str) -> str:
    lines = text.splitlines(keepends=True)
    starts = [0, *accumulate(len(line) for line in lines)]
    pieces: list[str] = []
    done = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        start, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        if token.type == tokenize.NAME and token.string in ("async", "await"):
            # The space behind it goes, too.
            pieces.append(text[done:start])
            done = end + 1
        elif token.type in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT):
            pieces += (text[done:start], _replaced(token, path))
            done = end
    return "".join(pieces) + text[done:]


def _replaced(token: tokenize.TokenInfo, path: Path) -> str:
    text = token.string
    if token.type == tokenize.NAME:
        text = _NAMES.get(text, text)
        if "Async" in text:
            raise ValueError(f"{path}:{token.start[0]}: no synchronous form of {text} is known")
    else:
        for word, other in {**_NAMES, **_WORDS}.items():
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", other, text)
    return text
