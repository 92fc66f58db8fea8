"""The methods of a sandbox as an object: its start, a command, and the clients' calls without the ID."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from . import openapi, protobuf, tools
from .calls import TIMEOUT_SOURCE, imports, signature
from .derive_interfaces import SOURCE, methods
from .docstrings import TIMEOUT, TIMEOUT_OF_COMMAND, TIMEOUT_OF_PAGE, Docstring, raised
from .parameters import Parameter, parameters
from .vocabulary import Vocabulary

__all__ = ["derive"]

_CREATION_MODULE: Final = SOURCE / "creation.py"
_OBJECT_CALLS_MODULE: Final = SOURCE / "object_calls.py"
_RUN_MODULE: Final = SOURCE / "run.py"
_SANDBOX: Final = SOURCE / "sandbox.py"
_HEAD: Final = "# Generated from specs/ and the clients' calls by `python -m codegen`; do not edit.\n"
_RUN: Final = '''\
"""What runs a command in a sandbox."""

{imports}
from ..delegation import Delegate
from .api import AsyncSandboxAPI

__all__ = ["AsyncRun"]


class AsyncRun(Delegate):
    """Runs commands in one sandbox."""

    _client: AsyncSandboxAPI
    _ids: tuple[str]

    async def run({signature}) -> ExecResult:
{docstring}\
        result = await self._client.exec_command(*self._ids, {arguments})
        return result.check() if check else result
'''
_OBJECT_CALLS: Final = '''\
"""The calls of a sandbox under the names that they have on the clients."""

from __future__ import annotations

from ..delegation import Delegate, of_sandbox
from .api import AsyncSandboxAPI

__all__ = ["AsyncObjectCalls"]


class AsyncObjectCalls(Delegate):
    """What a client does with the ID of a sandbox, without the ID."""

{calls}
'''
_CREATION: Final = '''\
"""What starts and lists sandboxes."""

{imports}
from ...models.network import Network, network_fields
from .api import AsyncSandboxAPI
from .sandbox_handle import AsyncSandboxHandle

__all__ = ["AsyncCreation"]


class AsyncCreation(AsyncSandboxHandle):
    """Starts and lists sandboxes as objects."""

    @classmethod
    async def create({signature}) -> Self:
{docstring}\
        return await cls._started(client, snapshot, {arguments}, timeout=timeout)

    @classmethod
    def list({list_signature}) -> AsyncIterator[Self]:
{list_docstring}\
        return cls._listed(client, {list_arguments}, timeout=timeout)
'''
_FAILS: Final = "It failed, and `check` is True; the error has the result."
_CHECK: Final = Parameter(
    "check", "bool", "False", "True raises CommandFailedError where it does not end by itself with status 0."
)
_SNAPSHOT: Final = Parameter(
    "snapshot",
    "SnapshotResult | SnapshotInfo | str | None",
    "None",
    "Snapshot to start from, or its ID, name or path.",
)
_CLIENT: Final = Parameter(
    "client",
    "AsyncSandboxAPI | None",
    "None",
    "Performs the calls, and is not closed; None for one of the sandbox's own.",
)
# What a snapshot stands for.
_OF_SNAPSHOT: Final = ("snapshot_path", "mem_file_path")
# What a policy says, which is a network here.
_OF_POLICY: Final = ("network_allow", "network_deny")
# Arguments that have a shorter name here.
_NAMES: Final = {"ttl_seconds": "ttl"}


def derive(root: Path, interface: str) -> dict[Path, str]:
    """Return the text of each module of methods, by its path below `root`.

    Args:
        root: The root of the repository.
        interface: The module of the clients' interface.
    """
    http, grpc = openapi.load(root), protobuf.load(root)
    own = set(_names_of((root / _SANDBOX).read_text("utf-8")))
    shared = [name for name in _calls_of_a_sandbox(interface) if name not in own]
    known = imports(http, grpc)
    calls = "\n".join(f"    {name} = of_sandbox(AsyncSandboxAPI.{name})" for name in shared)
    texts = {
        _RUN_MODULE: _RUN.format(imports=known, **_run(http, grpc)),
        _CREATION_MODULE: _CREATION.format(imports=known, **_create(http, grpc), **_list(http, grpc)),
        _OBJECT_CALLS_MODULE: _OBJECT_CALLS.format(calls=calls),
    }
    return {path: tools.format_python(_HEAD + text) for path, text in texts.items()}


def _calls_of_a_sandbox(interface: str) -> Iterator[str]:
    for method in methods(interface):
        if isinstance(method, ast.AsyncFunctionDef) and "sandbox_id" in (one.arg for one in method.args.args):
            yield method.name


def _names_of(text: str) -> Iterator[str]:
    """Yield the name of each attribute that a class of a module has of its own."""
    yield from (method.name for method in methods(text))
    for kind in (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)):
        for node in (node for node in kind.body if isinstance(node, ast.Assign)):
            yield from (ast.unparse(target) for target in node.targets)


def _run(http: Vocabulary, grpc: Vocabulary) -> dict[str, str]:
    operation = http.operations["exec_command"]
    taken = parameters(operation, grpc.operations["exec_command"], http)
    taken = [one for one in taken if one.name != "sandbox_id"]
    # Left out, it has no limit of its own.
    limit = taken.pop()
    doc = limit.doc.removesuffix(" Where it is left out, `timeout` is the limit.")
    taken += [replace(limit, annotation="float | None", default="None", doc=doc), _CHECK]
    docstring = Docstring(
        "Run a command and return what it printed and how it ended.",
        "",
        {one.name: one.doc for one in taken} | {"timeout": TIMEOUT_OF_COMMAND},
        {"CommandFailedError": _FAILS} | raised(operation),
    )
    given = [one.name if one.positional else f"{one.name}={one.name}" for one in taken if one is not _CHECK]
    return {
        "signature": signature(taken, TIMEOUT_SOURCE),
        "docstring": docstring.source(),
        "arguments": ", ".join([*given, "timeout=timeout"]),
    }


def _list(http: Vocabulary, grpc: Vocabulary) -> dict[str, str]:
    operation = http.operations["list_sandboxes"]
    taken = parameters(operation, grpc.operations["list_sandboxes"], http)
    taken = [_named(one) for one in taken if not one.name.startswith("page_")]
    client = replace(_CLIENT, doc=_CLIENT.doc.replace("the sandbox's own", "each sandbox's own"))
    docstring = Docstring(
        operation.doc.replace("Return a page of", "Yield each of"),
        operation.details,
        {one.name: one.doc for one in (*taken, client)} | {"timeout": TIMEOUT_OF_PAGE},
        raised(operation),
    )
    return {
        "list_signature": signature([*taken, client], TIMEOUT_SOURCE).replace("self", "cls", 1),
        "list_docstring": docstring.source(),
        "list_arguments": ", ".join(f"{one.name}={one.name}" for one in taken),
    }


def _named(parameter: Parameter) -> Parameter:
    """Return a parameter of a client's method as a method of an object has it."""
    annotation = parameter.annotation.replace(' | Literal[""]', "")
    return replace(parameter, name=_NAMES.get(parameter.name, parameter.name), annotation=annotation)


def _create(http: Vocabulary, grpc: Vocabulary) -> dict[str, str]:
    operation = http.operations["start_sandbox"]
    taken = parameters(operation, grpc.operations["start_sandbox"], http)
    taken = [one for one in taken if one.name not in _OF_SNAPSHOT + _OF_POLICY]
    own = [replace(_named(_or_policy(one)), positional=one.name == "image") for one in taken]
    shown = [*sorted(own, key=lambda one: not one.positional), _SNAPSHOT, _CLIENT]
    docstring = Docstring(
        "Start a sandbox and return it once its main process runs.",
        operation.details,
        {one.name: one.doc for one in shown} | {"timeout": TIMEOUT},
        raised(operation),
    )
    return {
        "signature": signature(shown, TIMEOUT_SOURCE).replace("self", "cls", 1),
        "docstring": docstring.source(),
        "arguments": ", ".join(
            "**network_fields(network)" if ours.name == "network" else f"{theirs.name}={ours.name}"
            for theirs, ours in zip(taken, own, strict=True)
        ),
    }


def _or_policy(one: Parameter) -> Parameter:
    """Return an argument, of which the network may be a policy."""
    if one.name != "network":
        return one
    return replace(one, annotation=f"Network | {one.annotation}", doc=f"{one.doc} A `Network` is a policy.")
