"""Who may call without a key: the orchestrator's own user and root, on both transports alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from other_user import NOBODY, acting_as
from quartet import CLIENTS, Failure, failure_of, quartet

from flash_sandbox import AuthenticationError, SandboxError, embedding
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.doors import peers

KEY = "correct-horse"

CALLS: dict[str, Callable[[Any], object]] = {
    "call": lambda client: client.list_sandboxes(),
    "start": lambda client: client.start_sandbox(),
    "streamed answer": lambda client: list(client.exec_stream("a", ["true"])),
    "streamed request": lambda client: client.upload_archive("a", "/tmp", iter([b"x"])),
}


def outcomes(http_address: str, grpc_address: str, **options: Any) -> dict[str, object]:
    """Make a call through each client; return what it told, or its failure."""
    with quartet(http_address, grpc_address, **options) as clients:
        return {name: outcome(client.list_sandboxes) for name, client in clients.items()}


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except SandboxError as error:
        return failure_of(error)


def only(values: dict[str, Any]) -> Any:
    """Return the one value that all of them are."""
    assert list(values) == list(CLIENTS)
    found = list(values.values())
    assert found == [found[0]] * len(found)
    return found[0]


def is_refused(failure: object) -> bool:
    return isinstance(failure, Failure) and failure.kind is AuthenticationError


@pytest.fixture(scope="module")
def guarded() -> Iterator[Orchestrator]:
    with running_orchestrator(limits="best-effort", api_key=KEY) as running:
        yield running


@pytest.mark.usefixtures("other_user")
class TestWithoutAKey:
    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_another_user_of_the_machine_is_refused_and_told_what_to_do(
        self, orchestrator: Orchestrator, call: Callable[[Any], object]
    ) -> None:
        with (
            acting_as(NOBODY),
            quartet(orchestrator.http_address, orchestrator.grpc_address, max_retries=0) as clients,
        ):
            found = {name: outcome(call, client) for name, client in clients.items()}
        failure = only(found)
        assert (failure.kind, failure.reason) == (AuthenticationError, "unauthenticated")
        assert (failure.status_code, failure.grpc_status) == (401, "UNAUTHENTICATED")
        assert "api_key=" in failure.detail
        assert "--no-key" in failure.detail

    def test_no_key_that_another_user_gives_helps(self, orchestrator: Orchestrator) -> None:
        with acting_as(NOBODY):
            failure = only(outcomes(orchestrator.http_address, orchestrator.grpc_address, api_key="any"))
        assert is_refused(failure)

    def test_the_user_of_each_connection_is_asked(self, orchestrator: Orchestrator) -> None:
        addresses = (orchestrator.http_address, orchestrator.grpc_address)
        for user in (0, NOBODY, 0):
            with acting_as(user):
                assert is_refused(only(outcomes(*addresses))) == (user != 0)

    @pytest.mark.parametrize("path", ["/metrics", "/sandboxes", "/events", "/nothing/at/all"])
    def test_nothing_that_tells_of_sandboxes_is_open_to_another_user(
        self, orchestrator: Orchestrator, path: str
    ) -> None:
        with acting_as(NOBODY):
            response = httpx.get(orchestrator.http_address + path)
        assert (response.status_code, response.json()["reason"]) == (401, "unauthenticated")

    @pytest.mark.parametrize("path", ["/healthz", "/", "/docs", "/openapi.json", "/page/app.js"])
    def test_what_is_the_same_for_everybody_is_open(self, orchestrator: Orchestrator, path: str) -> None:
        with acting_as(NOBODY):
            assert httpx.get(orchestrator.http_address + path).status_code == 200

    def test_nobody_passes_where_the_kernel_does_not_tell(
        self, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # No such protocol of netlink, as where the kernel was built without.
        monkeypatch.setattr(peers, "_NETLINK_SOCK_DIAG", 31)
        assert is_refused(only(outcomes(orchestrator.http_address, orchestrator.grpc_address)))

    @pytest.mark.parametrize("host", ["::1", "localhost", "127.3.2.1"])
    def test_so_it_is_on_every_loopback_address(self, host: str) -> None:
        with ExitStack() as stack:
            try:
                orchestrator = stack.enter_context(running_orchestrator(limits="best-effort", host=host))
            except OSError as error:
                pytest.skip(f"{host}: {error}")
            addresses = (orchestrator.http_address, orchestrator.grpc_address)
            assert not is_refused(only(outcomes(*addresses)))
            with acting_as(NOBODY):
                assert is_refused(only(outcomes(*addresses)))


@pytest.mark.usefixtures("other_user")
class TestWithAKeyOrOpened:
    def test_no_key_lets_every_user_in(self) -> None:
        with running_orchestrator(limits="best-effort", no_key=True) as running, acting_as(NOBODY):
            assert not is_refused(only(outcomes(running.http_address, running.grpc_address)))

    def test_a_key_lets_whoever_has_it_in_and_nobody_else(self, guarded: Orchestrator) -> None:
        addresses = (guarded.http_address, guarded.grpc_address)
        assert is_refused(only(outcomes(*addresses)))
        for user in (0, NOBODY):
            with acting_as(user):
                assert not is_refused(only(outcomes(*addresses, api_key=KEY)))


def test_no_key_contradicts_a_key() -> None:
    with pytest.raises(ValueError, match="--no-key contradicts"):
        Orchestrator(no_key=True, api_key=KEY)


class TestEmbedded:
    def test_it_always_asks_for_its_key(self) -> None:
        endpoint = embedding.own_endpoint()
        for headers in ({}, {"authorization": "Bearer wrong"}):
            assert httpx.get(f"{endpoint.address}/sandboxes", headers=headers).status_code == 401

    def test_its_key_is_in_no_place_that_another_user_reads(self) -> None:
        endpoint = embedding.own_endpoint()
        companion = embedding._shared._current
        assert companion is not None
        assert endpoint.api_key
        key = endpoint.api_key.encode()
        process = Path("/proc", str(companion.process.pid))
        assert key not in (process / "cmdline").read_bytes()
        assert key not in (process / "environ").read_bytes()
        assert key not in Path("/proc/self/environ").read_bytes()
        assert process.joinpath("mem").stat().st_mode & 0o077 == 0
        directories = [
            Path(os.readlink(entry)) for entry in (process / "fd").iterdir() if entry.resolve().is_dir()
        ]
        kept = [path for path in directories if path.name.startswith("flash-sandbox-")]
        assert kept
        for directory in kept:
            assert directory.stat().st_mode & 0o077 == 0
            for path in directory.rglob("*"):
                assert not path.is_file() or key not in path.read_bytes()
