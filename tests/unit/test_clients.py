"""The public face: the same names, signatures and docstrings everywhere, and light to import."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from collections.abc import Callable
from typing import Any

import pytest

import flash_sandbox
from flash_sandbox import (
    AsyncCommands,
    AsyncExecStream,
    AsyncFiles,
    AsyncHTTPClient,
    AsyncProcess,
    AsyncSandbox,
    AsyncSandboxAPI,
    AsyncSandboxClient,
    Commands,
    ExecStream,
    Files,
    HTTPClient,
    InvalidArgumentError,
    Process,
    Sandbox,
    SandboxAPI,
    SandboxClient,
    operations,
)

PAIRS: list[tuple[type[Any], type[Any]]] = [
    (HTTPClient, AsyncHTTPClient),
    (SandboxClient, AsyncSandboxClient),
    (SandboxAPI, AsyncSandboxAPI),
    (Sandbox, AsyncSandbox),
    (Commands, AsyncCommands),
    (Files, AsyncFiles),
    (Process, AsyncProcess),
    (ExecStream, AsyncExecStream),
]
CLIENTS: list[type[Any]] = [HTTPClient, SandboxClient, AsyncHTTPClient, AsyncSandboxClient]
METHODS = [operation.name for operation in operations.OPERATIONS]
OF_POLICY = {"network_allow", "network_deny"}
OF_NO_SANDBOX = {
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
}
NO_COROUTINES = {"with_options", "sandboxes", "AsyncSandbox.list", "process"}
OF_A_CLIENT = {"sandboxes", "upload", "download", "with_options", "close"}
POSITIONAL = {"count", "image", "signal", "data"}


def public_functions(kind: type[Any]) -> dict[str, Callable[..., Any]]:
    names = [name for name in dir(kind) if not name.startswith("_")]
    values = [(name, inspect.getattr_static(kind, name)) for name in names]
    return {
        name: getattr(value, "__func__", value)
        for name, value in values
        if callable(value) or isinstance(value, classmethod)
    }


def signature(function: Callable[..., Any]) -> list[tuple[str, object, object, str]]:
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default, str(each.annotation)) for each in parameters]


@pytest.mark.parametrize(("sync", "aio"), PAIRS, ids=lambda kind: kind.__name__)
def test_both_halves_have_the_same_methods_parameters_and_docstrings(sync: type[Any], aio: type[Any]) -> None:
    ours, theirs = public_functions(sync), public_functions(aio)
    assert ours.keys() == theirs.keys()
    for name, function in ours.items():
        other = theirs[name]
        assert inspect.getdoc(function) == inspect.getdoc(other), name
        asynchronous = [(*row[:3], row[3].replace("Async", "")) for row in signature(other)]
        assert signature(function) == asynchronous, name
        assert not inspect.iscoroutinefunction(function), name
        is_coroutine = not {name, f"{aio.__name__}.{name}"} & NO_COROUTINES
        assert inspect.iscoroutinefunction(other) == is_coroutine, name


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.__name__)
def test_client_has_the_protocols_methods_parameters_and_docstrings(kind: type[Any]) -> None:
    protocol = AsyncSandboxAPI if kind.__name__.startswith("Async") else SandboxAPI
    declared = public_functions(protocol)
    assert public_functions(kind).keys() == declared.keys()
    for name, function in declared.items():
        assert signature(getattr(kind, name)) == signature(function), name
        assert inspect.getdoc(getattr(kind, name)) == inspect.getdoc(function), name


# There a network may be a policy.
@pytest.mark.parametrize("name", [name for name in METHODS if name not in {*OF_NO_SANDBOX, "set_network"}])
def test_sandbox_object_has_the_clients_parameters_but_the_id(name: str) -> None:
    theirs = [row for row in signature(getattr(HTTPClient, name)) if row[0] != "sandbox_id"]
    assert signature(getattr(Sandbox, name)) == theirs


@pytest.mark.parametrize(
    ("method", "call", "of_it_alone", "of_the_call_alone"),
    [
        (Sandbox.run, HTTPClient.exec_command, {"check"}, set()),
        (Commands.start, HTTPClient.start_process, set(), set()),
        (Process.wait, HTTPClient.wait_process, {"check"}, {"process_id"}),
        (
            Sandbox.create,
            HTTPClient.start_sandbox,
            {"client", "snapshot", "ttl"},
            {"snapshot_path", "mem_file_path", "ttl_seconds", *OF_POLICY},
        ),
        (Sandbox.set_network, HTTPClient.set_network, set(), OF_POLICY),
        (Sandbox.list, HTTPClient.sandboxes, {"client"}, set()),
    ],
)
def test_an_objects_own_method_takes_what_the_clients_call_does(
    method: Callable[..., Any],
    call: Callable[..., Any],
    of_it_alone: set[str],
    of_the_call_alone: set[str],
) -> None:
    mine, theirs = set(inspect.signature(method).parameters), set(inspect.signature(call).parameters)
    assert mine - theirs - {"self"} == of_it_alone
    assert theirs - mine - {"self", "sandbox_id"} == of_the_call_alone


@pytest.mark.parametrize("kind", [Sandbox, Commands, Files, Process], ids=lambda kind: kind.__name__)
def test_options_are_given_by_name_and_none_is_the_default(kind: type[Any]) -> None:
    for name, function in public_functions(kind).items():
        for each in inspect.signature(function).parameters.values():
            optional = each.default is not each.empty
            assert not optional or each.kind is each.KEYWORD_ONLY or each.name in POSITIONAL
            assert each.default != "", (name, each.name)


@pytest.mark.parametrize(
    ("kind", "port", "names"),
    [
        (HTTPClient, 8080, ["host", "port", "address", "timeout", "session"]),
        (SandboxClient, 50051, ["host", "port", "address", "timeout"]),
    ],
)
def test_constructor_is_the_published_one(kind: type[Any], port: int, names: list[str]) -> None:
    parameters = inspect.signature(kind).parameters
    positional = [each for each in parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert [each.name for each in positional] == names
    assert [each.default for each in positional][:4] == ["localhost", port, None, 30.0]


def test_start_takes_the_published_arguments_in_their_order() -> None:
    assert list(inspect.signature(HTTPClient.start_sandbox).parameters)[1:10] == [
        *("type", "image", "command", "memory_mb", "cpu_cores"),
        *("kernel_image", "initrd_path", "snapshot_path", "mem_file_path"),
    ]


def test_every_operation_is_a_method() -> None:
    assert set(public_functions(HTTPClient)) == {
        *METHODS,
        "sandboxes",
        "upload",
        "download",
        "with_options",
        "close",
    }


def test_all_equals_the_public_names() -> None:
    modules = {name for name, value in vars(flash_sandbox).items() if inspect.ismodule(value)}
    public = {name for name in vars(flash_sandbox) if not name.startswith("_")} - modules - {"annotations"}
    assert sorted(flash_sandbox.__all__) == sorted(public | {"__version__"})


DEFINED = [
    name
    for name, value in vars(flash_sandbox).items()
    if name in flash_sandbox.__all__ and (inspect.isclass(value) or inspect.isfunction(value))
]


@pytest.mark.parametrize("name", DEFINED)
def test_public_name_shows_the_public_module(name: str) -> None:
    assert getattr(flash_sandbox, name).__module__ == "flash_sandbox"


def test_annotations_of_public_methods_resolve() -> None:
    for name in METHODS:
        assert "return" in typing.get_type_hints(getattr(HTTPClient, name))
    for kind in (Sandbox, Commands, Files, Process, ExecStream):
        for function in public_functions(kind).values():
            assert typing.get_type_hints(function)["return"] is not Any


def run(code: str, *options: str) -> str:
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import flash_sandbox", ["httpx", "httpcore", "grpclib", "asyncio", "ssl", "flash_sandbox_http"]),
        ("import flash_sandbox; flash_sandbox.HTTPClient().close()", ["grpclib", "betterproto2"]),
        ("import flash_sandbox; flash_sandbox.SandboxClient().close()", ["httpx", "flash_sandbox_http"]),
    ],
)
def test_only_what_is_used_is_loaded(code: str, absent: list[str]) -> None:
    absent = [*absent, "flash_sandbox.orchestrator", "requests"]
    assert run(f"{code}; import sys; print([name for name in {absent} if name in sys.modules])") == "[]"


def test_version_is_the_distributions() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        expected = version("flash-sandbox")
    except PackageNotFoundError:
        expected = "0+unknown"
    assert flash_sandbox.__version__ == expected


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": 1e9}, "timeout"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 1.5}, "max_retries"),
        ({"address": "ftp://x"}, "scheme"),
        ({"port": 0}, "port"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "a\nb"}, "api_key"),
        ({"api_key": "\u00e9"}, "api_key"),
    ],
)
def test_malformed_option_is_refused_by_every_constructor(
    kind: type[Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        kind(**options)


@pytest.mark.parametrize("kind", [HTTPClient, AsyncHTTPClient], ids=lambda kind: kind.__name__)
def test_session_of_another_kind_is_refused(kind: type[Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="session must be"):
        kind(session=object())


@pytest.mark.parametrize("kind", [SandboxClient, AsyncSandboxClient], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "metadata",
    [{"grpc-timeout": "1S"}, {"te": "x"}, {"Upper": "x"}, {"a": ""}, {"a": "\n"}, {"a": 1}, {"": "x"}],
)
def test_metadata_that_grpc_does_not_take_is_refused(kind: type[Any], metadata: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="metadata"):
        kind(metadata=metadata)


def test_tls_that_contradicts_the_address_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="contradict"):
        SandboxClient(address="http://localhost", ssl=True)
