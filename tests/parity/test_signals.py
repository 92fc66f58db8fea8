"""A signal handler of the program that raises during a call: that is the program's own exception."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

import pytest
from faults import FaultProxy, Link

from flash_sandbox import SandboxAPI, SandboxConnectionError, SandboxNotFoundError

Connect = Callable[..., SandboxAPI]

# Python runs handlers in the main thread, which an asynchronous client spends in its event loop.
pytestmark = pytest.mark.parametrize("kind", ["HTTPClient", "SandboxClient"], indirect=True)


async def signal_and_hold(link: Link) -> None:
    """Send the main thread a signal once a request has come, and never answer."""
    await link.request()
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGUSR1)
    await link.until_client_leaves()


async def signal_while_it_sends(link: Link) -> None:
    """Send the main thread a signal while it sends more than is read."""
    await link.part(64 * 1024)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGUSR1)
    await asyncio.Event().wait()


class Raising:
    """A handler that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, number: int, frame: FrameType | None) -> None:
        raise self.error

    def method(self, number: int, frame: FrameType | None) -> None:
        raise self.error


def fail(error: Exception, number: int, frame: FrameType | None) -> None:
    raise error


@pytest.fixture
def proxy(address: str) -> Iterator[FaultProxy]:
    """Answer the first request by a signal, and have an orchestrator answer the others."""
    before = signal.getsignal(signal.SIGUSR1)
    try:
        with FaultProxy(address, [signal_and_hold]) as proxy:
            yield proxy
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    "error", [TimeoutError("mine"), RuntimeError("mine"), ConnectionResetError("mine"), ValueError("mine")]
)
def test_its_exception_comes_through_and_the_client_goes_on(
    connect: Connect, proxy: FaultProxy, error: Exception
) -> None:
    signal.signal(signal.SIGUSR1, Raising(error))
    client = connect(proxy.address, max_retries=5)
    with pytest.raises(type(error)) as caught:
        client.get_status("a")
    assert caught.value is error
    assert proxy.connections == 1
    with pytest.raises(SandboxNotFoundError):
        client.get_status("a")


@pytest.mark.parametrize("timeout", [30.0, None])
def test_so_it_does_from_a_stream(connect: Connect, proxy: FaultProxy, timeout: float | None) -> None:
    error = TimeoutError("mine")
    signal.signal(signal.SIGUSR1, Raising(error).method)
    with pytest.raises(TimeoutError) as caught:
        list(connect(proxy.address, timeout=timeout).exec_stream("a", ["true"]))
    assert caught.value is error


@pytest.mark.parametrize("error", [TimeoutError("mine"), ConnectionResetError("mine")])
def test_so_it_does_while_the_request_is_sent(connect: Connect, address: str, error: Exception) -> None:
    before = signal.signal(signal.SIGUSR1, Raising(error))
    try:
        with FaultProxy(address, [signal_while_it_sends]) as proxy:
            client = connect(proxy.address, max_retries=5, timeout=20)
            with pytest.raises(type(error)) as caught:
                client.write_stdin("a", "b", bytes(8 * 1024 * 1024))
            client.close()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert caught.value is error


def test_so_it_does_where_the_handler_is_a_partial_function(connect: Connect, proxy: FaultProxy) -> None:
    error = TimeoutError("mine")
    signal.signal(signal.SIGUSR1, partial(fail, error))
    with pytest.raises(TimeoutError) as caught:
        connect(proxy.address).get_status("a")
    assert caught.value is error


def test_a_call_made_while_it_is_handled_fails_by_itself(connect: Connect, proxy: FaultProxy) -> None:
    signal.signal(signal.SIGUSR1, Raising(TimeoutError("mine")))
    try:
        connect(proxy.address).get_status("a")
    except TimeoutError:
        with pytest.raises(SandboxConnectionError):
            connect("127.0.0.1:9", max_retries=0).get_status("a")
    else:
        pytest.fail("the handler has not raised")
