"""Servers that fall silent, or say less than they should: how long that is waited for, and what it means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import flash_sandbox_grpc
import pytest
from foreign import ForeignServer, Stream
from loop_server import LoopServer

from flash_sandbox import OutcomeUnknownError, SandboxAPI, SandboxConnectionError, SandboxTimeoutError
from flash_sandbox.transports.retry import Patience

Connect = Callable[..., SandboxAPI]

STARTED: Final = (
    b'{"type": "started", "process_id": "one"}',
    bytes(flash_sandbox_grpc.ExecFrame(type="started", process_id="one")),
)


class SilentServer(LoopServer):
    """Takes whatever comes, and says nothing but what every server does."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one connection to its end."""
        while data := await reader.read(65536):
            if data.startswith(b"PRI"):
                # Empty settings, in HTTP/2.
                writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "seconds", 0.5)


def test_upload_that_nobody_answers_is_given_up(connect: Connect) -> None:
    with SilentServer() as server:
        client = connect(server.address, timeout=None, max_retries=3)
        with pytest.raises(OutcomeUnknownError, match=r"nothing came for 0\.5 s"):
            client.upload_archive("a", "/tmp", iter([b"x", b"y"]))
        client.close()
        assert server.connections == 1


def test_upload_is_begun_in_time_or_not_at_all(connect: Connect, unreachable: str) -> None:
    client = connect(unreachable, max_retries=0)
    with pytest.raises(SandboxTimeoutError, match=r"no answer within 0\.3 s"):
        client.upload_archive("a", "/tmp", iter([b"x"]), timeout=0.3)
    client.close()


def test_stream_that_falls_silent_is_given_up(connect: Connect) -> None:
    with ForeignServer(Stream((STARTED,))) as server:
        client = connect(server.address, timeout=None, max_retries=3)
        with pytest.raises(OutcomeUnknownError, match=r"nothing came for 0\.5 s"):
            list(client.exec_stream("a", "true"))
        client.close()
        assert server.connections == 1


def test_command_whose_answer_ends_before_it_begins_is_not_run_again(connect: Connect) -> None:
    with ForeignServer(Stream(ends=True)) as server:
        client = connect(server.address, max_retries=3)
        with pytest.raises(OutcomeUnknownError, match="the stream broke off"):
            list(client.exec_stream("a", "true"))
        client.close()
        assert server.connections == 1


def test_reading_whose_answer_ends_before_it_begins_is_asked_for_again(connect: Connect) -> None:
    with ForeignServer(Stream(ends=True)) as server:
        client = connect(server.address, max_retries=1)
        with pytest.raises(SandboxConnectionError, match="the stream broke off") as caught:
            list(client.follow_process("a", "one"))
        client.close()
        assert type(caught.value) is SandboxConnectionError
        assert server.connections == 2
