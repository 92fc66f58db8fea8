"""Channels of grpcio that the caller gives: the gRPC clients behave as over their own.

The tests that are imported run with the fixtures of this module.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import grpc
import pytest
from quartet import Blocking, failure_of
from test_behaviour import (  # noqa: F401
    test_closed_client_refuses_every_call,
    test_exec_tells_output_and_exit_code_apart,
    test_host_that_has_no_address_is_a_connection_error,
    test_large_output_comes_back_whole,
    test_operation_in_the_wrong_state_is_a_conflict,
    test_server_that_is_not_there_is_a_connection_error,
    test_timeout_of_a_call_ends_it,
)
from test_commands import TestStream  # noqa: F401
from test_files import test_archive_goes_through_as_it_is  # noqa: F401
from test_patience import test_upload_is_begun_in_time_or_not_at_all  # noqa: F401

import flash_sandbox
from flash_sandbox import (
    ClientClosedError,
    OutcomeUnknownError,
    SandboxAPI,
    SandboxClient,
    SandboxError,
    SandboxNotFoundError,
)
from flash_sandbox.orchestrator import Orchestrator

Connect = Callable[..., SandboxAPI]
OPTIONS = [("grpc.max_receive_message_length", 64 * 2**20)]


@pytest.fixture(scope="session", params=["SandboxClient", "AsyncSandboxClient"])
def kind(request: pytest.FixtureRequest) -> str:
    """Name the client under test."""
    return cast(str, request.param)


@pytest.fixture
def channels() -> list[Any]:
    """Hold the channels that were made."""
    return []


@pytest.fixture
def connect(kind: str, channels: list[Any]) -> Iterator[Connect]:
    """Make clients over channels of their own, which are closed at the end."""
    with asyncio.Runner() as runner, ExitStack() as stack:

        async def aio_channel(address: str) -> Any:
            return grpc.aio.insecure_channel(address, options=OPTIONS)

        def make(address: str, **options: Any) -> SandboxAPI:
            if kind == "SandboxClient":
                channel = grpc.insecure_channel(address, options=OPTIONS)
                stack.callback(channel.close)
            else:
                channel = Blocking(runner, runner.run(aio_channel(address)))
                stack.callback(channel.close)
                channel = vars(channel)["_client"]
            channels.append(channel)
            client = getattr(flash_sandbox, kind)(address=address, channel=channel, **options)
            return cast(SandboxAPI, client if kind == "SandboxClient" else Blocking(runner, client))

        yield make


def failure(client: SandboxAPI, method: str, *arguments: Any) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        getattr(client, method)(*arguments)
    return caught.value


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("get_status", ["unknown"]), ("read_file", ["unknown", "/a"]), ("start_sandbox", ["no-runtime"])],
)
def test_error_of_the_server_is_that_of_an_own_channel(
    client: SandboxAPI, address: str, method: str, arguments: list[str]
) -> None:
    with SandboxClient(address=address) as own:
        expected = failure(own, method, *arguments)
    found = failure(client, method, *arguments)
    assert failure_of(found) == failure_of(expected)
    assert found.request_id


def test_upload_that_is_refused_while_it_is_sent_does_not_pass(client: SandboxAPI, kind: str) -> None:
    refused = failure(client, "upload_archive", "unknown", "/tmp", iter([bytes(65536)] * 16))
    # grpc.aio forgets the server's answer where the call ends while a message is being sent.
    lost = (OutcomeUnknownError,) if kind == "AsyncSandboxClient" else ()
    assert isinstance(refused, (SandboxNotFoundError, *lost))


def test_channel_stays_open_when_its_client_is_closed(
    client: SandboxAPI, channels: list[Any], kind: str
) -> None:
    client.close()
    if kind == "SandboxClient":
        with SandboxClient(channel=channels[0]) as another:
            assert another.list_sandboxes() is not None
    else:
        assert channels[0].get_state() is not grpc.ChannelConnectivity.SHUTDOWN


def test_channel_that_was_closed_refuses_every_call(address: str) -> None:
    channel = grpc.insecure_channel(address)
    channel.close()
    assert isinstance(failure(SandboxClient(channel=channel), "get_status", "a"), ClientClosedError)


def test_chunks_that_fail_end_an_upload_with_their_exception(client: SandboxAPI, sandbox_id: str) -> None:
    def chunks() -> Iterator[bytes]:
        # Nothing that the server could refuse comes first.
        yield from ()
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        client.upload_archive(sandbox_id, "/tmp", chunks())


def test_grpcio_is_not_loaded_without_a_channel(orchestrator: Orchestrator) -> None:
    program = (
        "import sys, flash_sandbox\n"
        "client = flash_sandbox.SandboxClient(address=sys.argv[1])\n"
        "client.list_sandboxes()\n"
        "client.close()\n"
        "print('grpc' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program, orchestrator.grpc_address]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
