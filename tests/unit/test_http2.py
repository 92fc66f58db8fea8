"""The blocking HTTP/2 connection, against servers that leave, refuse, dawdle and answer early."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from h2.settings import SettingCodes
from http2_server import (
    HEAD,
    Server,
    answer_one,
    leave_after_one,
    leave_before_one,
    refuse_one,
    reset_one,
    serving,
)

from flash_sandbox import (
    ClientClosedError,
    InternalServerError,
    OutcomeUnknownError,
    SandboxClient,
    SandboxConnectionError,
    SandboxTimeoutError,
)


def test_connection_is_used_again() -> None:
    def answer_two(server: Server) -> None:
        answer_one(server)
        answer_one(server)

    with serving(answer_two) as address, SandboxClient(address=address) as client:
        assert [client.get_status("a"), client.get_status("a")] == ["running", "running"]


def test_connection_of_a_server_that_is_leaving_is_not_used_again() -> None:
    with serving(leave_after_one, answer_one) as address, SandboxClient(address=address) as client:
        assert [client.get_status("a"), client.get_status("a")] == ["running", "running"]


def test_frames_without_end_on_an_idle_connection_take_no_longer_than_the_next_call_may() -> None:
    def answer_and_flood(server: Server) -> None:
        answer_one(server)
        server.flood()

    with serving(answer_and_flood) as address, SandboxClient(address=address, max_retries=0) as client:
        assert client.get_status("a") == "running"
        began = time.monotonic()
        with pytest.raises(SandboxTimeoutError):
            client.get_status("a", timeout=0.5)
        assert time.monotonic() - began < 5


def test_connection_that_was_closed_meanwhile_is_not_used_again() -> None:
    left = threading.Event()

    def answer_and_leave(server: Server) -> None:
        answer_one(server)
        server.leave()
        left.set()

    with (
        serving(answer_and_leave, answer_one) as address,
        SandboxClient(address=address, max_retries=0) as client,
    ):
        assert client.get_status("a") == "running"
        assert left.wait(30)
        assert client.get_status("a") == "running"


@pytest.mark.parametrize("refuse", [refuse_one, leave_before_one])
def test_call_that_was_not_begun_is_made_again(refuse: Callable[[Server], None]) -> None:
    with serving(refuse, answer_one) as address, SandboxClient(address=address) as client:
        client.resume_sandbox("a")


@pytest.mark.parametrize("refuse", [refuse_one, leave_before_one])
def test_call_that_was_not_begun_is_a_connection_error(refuse: Callable[[Server], None]) -> None:
    with (
        serving(refuse) as address,
        SandboxClient(address=address, max_retries=0) as client,
        pytest.raises(SandboxConnectionError) as caught,
    ):
        client.resume_sandbox("a")
    assert type(caught.value) is SandboxConnectionError


def test_outcome_of_a_call_that_was_reset_is_unknown() -> None:
    with (
        serving(reset_one) as address,
        SandboxClient(address=address) as client,
        pytest.raises(OutcomeUnknownError),
    ):
        client.resume_sandbox("a")


def test_request_goes_no_faster_than_the_server_takes_it() -> None:
    content = bytes(range(256)) * 4096
    received = bytearray()

    def take_slowly(server: Server) -> None:
        stream = server.begin()
        server.read()
        received.extend(server.received)
        server.answer(stream)

    # HTTP/2 lets 65,535 bytes go before the server has said how many it takes.
    with serving(take_slowly) as address, SandboxClient(address=address) as client:
        client.write_file("a", "/x", content)
    assert content in received


def test_error_that_comes_before_the_request_is_read_is_told() -> None:
    def refuse_early(server: Server) -> None:
        stream = server.begin()
        head = [*HEAD, ("grpc-status", "13"), ("grpc-message", "full")]
        server.h2.send_headers(stream, head, end_stream=True)
        server.flush()
        # Until the client leaves: what it still sends is not read as HTTP/2.
        while server._socket.recv(65536):
            pass

    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1000}
    with (
        serving(refuse_early, settings=settings) as address,
        SandboxClient(address=address) as client,
        pytest.raises(InternalServerError, match="full"),
    ):
        client.write_file("a", "/x", bytes(10_000))


def test_server_that_takes_nothing_meets_the_time_out() -> None:
    def take_nothing(server: Server) -> None:
        server.begin()
        while server._socket.recv(65536):
            pass

    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    with (
        serving(take_nothing, settings=settings) as address,
        SandboxClient(address=address, timeout=0.3) as client,
        pytest.raises(SandboxTimeoutError),
    ):
        client.get_status("a")


def test_closing_ends_a_call_in_another_thread() -> None:
    begun = threading.Event()

    def hold(server: Server) -> None:
        server.begin()
        begun.set()
        while server._socket.recv(65536):
            pass

    raised: list[BaseException] = []

    def ask() -> None:
        try:
            client.get_status("a")
        except BaseException as error:
            raised.append(error)

    with serving(hold) as address:
        client = SandboxClient(address=address)
        thread = threading.Thread(target=ask)
        thread.start()
        begun.wait(30)
        client.close()
        thread.join()
    assert [type(error) for error in raised] == [ClientClosedError]
