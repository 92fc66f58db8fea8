"""The constructors and the object form beside the methods of the clients, and the interface as a type."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flash_sandbox import (
    AsyncHTTPClient,
    AsyncSandbox,
    AsyncSandboxClient,
    HTTPClient,
    Process,
    Sandbox,
    SandboxClient,
    operations,
)

ROOT = Path(__file__).resolve().parents[2]
METHODS = [
    operation.name
    for operation in operations.OPERATIONS
    if operation.name
    not in (
        # An object's network may be a policy.
        "set_network",
        "start_sandbox",
        "list_sandboxes",
        "watch_events",
        "list_snapshots",
        "remove_snapshot",
        "export_snapshot",
        "import_snapshot",
        "create_volume",
        "list_volumes",
        "remove_volume",
    )
]
OBJECTS: list[tuple[type[Any], type[Any]]] = [(Sandbox, HTTPClient), (AsyncSandbox, AsyncHTTPClient)]
OF_ONE_TRANSPORT = {"session", "ssl", "metadata", "channel"}


def parameters(kind: type[Any]) -> dict[str, tuple[object, object, str]]:
    """Return kind, default and type of each parameter of a constructor."""
    found = inspect.signature(kind).parameters.values()
    return {each.name: (each.kind, each.default, str(each.annotation)) for each in found}


def documented(kind: Callable[..., Any]) -> dict[str, str]:
    """Return what the docstring of a class or a function says of each argument."""
    text = inspect.getdoc(kind) or ""
    arguments = text.partition("Args:\n")[2].partition("\n\n")[0]
    pieces = re.split(r"^    (\w+): ", arguments, flags=re.MULTILINE)[1:]
    return dict(zip(pieces[::2], (" ".join(piece.split()) for piece in pieces[1::2]), strict=True))


@pytest.mark.parametrize(
    ("sync", "aio"), [(HTTPClient, AsyncHTTPClient), (SandboxClient, AsyncSandboxClient)]
)
def test_constructors_of_both_halves_have_the_same_parameters(sync: type[Any], aio: type[Any]) -> None:
    asynchronous = {name: (*row[:2], row[2].replace("Async", "")) for name, row in parameters(aio).items()}
    assert parameters(sync) == asynchronous


@pytest.mark.parametrize(
    ("http", "grpc"), [(HTTPClient, SandboxClient), (AsyncHTTPClient, AsyncSandboxClient)]
)
def test_constructors_of_both_transports_share_all_but_what_one_alone_has(
    http: type[Any], grpc: type[Any]
) -> None:
    ours, theirs = parameters(http), parameters(grpc)
    assert ours.keys() ^ theirs.keys() == OF_ONE_TRANSPORT
    shared = ours.keys() & theirs.keys()
    assert {name for name in shared if ours[name] != theirs[name]} == {"port"}


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (HTTPClient, AsyncHTTPClient),
        (SandboxClient, AsyncSandboxClient),
        (HTTPClient, SandboxClient),
        (AsyncHTTPClient, AsyncSandboxClient),
    ],
)
def test_constructors_are_documented_in_the_same_words(kind: type[Any], other: type[Any]) -> None:
    ours, theirs = documented(kind), documented(other)
    assert ours.keys() == parameters(kind).keys()
    differ = {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
    # The port and the schemes are HTTP's or gRPC's; each half has sessions and channels of its own.
    assert differ <= {"port", "address", "session", "channel"}


@pytest.mark.parametrize(("object_form", "client"), OBJECTS)
@pytest.mark.parametrize("name", METHODS)
def test_object_form_is_documented_in_the_clients_words(
    object_form: type[Any], client: type[Any], name: str
) -> None:
    theirs = inspect.getdoc(getattr(client, name)) or ""
    without_id = re.sub(r"^    sandbox_id: .*\n", "", theirs, flags=re.MULTILINE).replace("Args:\n\n", "")
    ours = inspect.getdoc(getattr(object_form, name)) or ""
    if name == "fork_sandbox":
        # It returns objects: only the arguments and the errors are told alike.
        ours, without_id = (
            text.partition("\nArgs:")[2].partition("\nRaises:")[0] for text in (ours, without_id)
        )
    # `stop` has its own words.
    assert ours.replace("Stop it,", "Stop a sandbox,") == without_id


@pytest.mark.parametrize(
    ("method", "call", "other_words"),
    [
        # There it may be a policy.
        (Sandbox.create, HTTPClient.start_sandbox, {"network"}),
        (Sandbox.set_network, HTTPClient.set_network, {"network"}),
        (Sandbox.run, HTTPClient.exec_command, {"limit", "timeout"}),
        (Sandbox.stop, HTTPClient.stop_sandbox, set()),
        (Process.wait, HTTPClient.wait_process, set()),
    ],
)
def test_an_objects_own_method_describes_its_arguments_in_the_clients_words(
    method: Callable[..., Any], call: Callable[..., Any], other_words: set[str]
) -> None:
    ours, theirs = documented(method), documented(call)
    ours["ttl_seconds"] = ours.pop("ttl", "")
    shared = ours.keys() & theirs.keys()
    assert shared
    assert {name for name in shared if ours[name] != theirs[name]} == other_words


CORRECT = """
import httpx
import requests
from flash_sandbox import (
    AsyncHTTPClient, AsyncSandbox, AsyncSandboxAPI, AsyncSandboxClient, HTTPClient, Sandbox, SandboxAPI,
    SandboxClient,
)

def use(client: SandboxAPI) -> str:
    with client.with_options(timeout=None) as other, Sandbox.create(client=other, image="host") as sandbox:
        return sandbox.run(["true"]).stdout + sandbox.exec_command(["true"]).stdout

def use_no_client() -> str:
    with Sandbox.create() as sandbox:
        return sandbox.exec_command("true").stdout

async def use_no_async_client() -> str:
    async with await AsyncSandbox.create(image="host") as sandbox:
        return (await sandbox.exec_command("true")).stdout

async def use_async(client: AsyncSandboxAPI) -> str:
    async with client as other, await AsyncSandbox.create(client=other, image="host") as sandbox:
        return (await sandbox.exec_command(["true"])).stdout

use(HTTPClient(session=httpx.Client()))
use(HTTPClient(session=requests.Session()))
use(SandboxClient())
use_async(AsyncHTTPClient(session=httpx.AsyncClient()))
use_async(AsyncSandboxClient())
"""


def type_errors(program: str, folder: Path) -> list[str]:
    """Return the errors that the strict type checker finds in a program."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports", "silent"]
    command += ["--cache-dir", str(folder.parent / "mypy"), "--disable-error-code", "unused-coroutine"]
    environment = os.environ | {"MYPYPATH": f"{ROOT}{os.pathsep}{ROOT / 'generated'}"}
    done = subprocess.run(
        [*command, "program.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line]


def test_type_checker_lets_every_client_be_used_by_its_interface(tmp_path: Path) -> None:
    assert type_errors(CORRECT, tmp_path) == []


@pytest.mark.parametrize(
    "mistake",
    [
        "use(AsyncHTTPClient())",
        "use_async(SandboxClient())",
        "HTTPClient(session=httpx.AsyncClient())",
        "HTTPClient().exec_command('id')",
        "SandboxClient().start_sandbox(memory_mb='64')",
    ],
)
def test_type_checker_finds_a_mistake(mistake: str, tmp_path: Path) -> None:
    assert len(type_errors(f"{CORRECT}{mistake}\n", tmp_path)) == 1
