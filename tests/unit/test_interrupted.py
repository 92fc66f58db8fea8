"""An exception of a signal handler may come between any two steps of Python: what that leaves behind."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import httpcore
import httpx
import pytest

from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator import Orchestrator
from flash_sandbox.transports.limits import MOST_CONNECTIONS, Room


class Interrupted(Exception):
    """What the handler raises."""


def interrupted(work: Callable[[], object], step: int) -> bool:
    """Tell whether `work` was interrupted at the step of this number: it is over where it has fewer."""
    left = step

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.timeout(20)
def test_room_lets_others_in_after_it() -> None:
    room = Room()

    def work() -> None:
        room.enter(1)
        room.leave()

    steps = next(step for step in count() if not interrupted(work, step))
    assert steps > 4
    assert room.enter(1)


def test_connection_whose_answer_could_not_be_ended_is_not_used_again(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = httpcore.Response.close
    ended: list[object] = []

    def end_and_interrupt(response: httpcore.Response) -> None:
        ended.append(response.extensions["network_stream"].get_extra_info("client_addr"))
        end(response)
        if len(ended) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(httpcore.Response, "close", end_and_interrupt)
    with HTTPClient(address=orchestrator.http_address) as client:
        with pytest.raises(KeyboardInterrupt):
            list(client.sandboxes())
        list(client.sandboxes())
        list(client.sandboxes())
    first, second, third = ended
    assert first != second == third


def test_an_answer_that_an_interrupt_loses_gives_its_connection_back(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx extracts cookies once the head of an answer is there, and sees to its end only after that."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with HTTPClient(address=orchestrator.http_address, timeout=5) as client:
        with monkeypatch.context() as patched:
            patched.setattr(httpx.Cookies, "extract_cookies", interrupt)
            for _ in range(MOST_CONNECTIONS + 1):
                with pytest.raises(KeyboardInterrupt):
                    client.list_sandboxes()
        client.list_sandboxes()


def test_an_answer_that_is_forgotten_late_closes_no_connection_of_another_call(
    orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[object] = []
    closed: list[bool] = []
    made = httpx.Response.__init__
    sent = httpcore.HTTPConnection.handle_request

    def keep(response: httpx.Response, *args: Any, **options: Any) -> None:
        kept.append(options.get("stream"))
        made(response, *args, **options)

    def forget_and_send(connection: httpcore.HTTPConnection, request: httpcore.Request) -> httpcore.Response:
        kept.clear()
        gc.collect()
        closed.append(connection.is_closed())
        return sent(connection, request)

    with HTTPClient(address=orchestrator.http_address) as client:
        monkeypatch.setattr(httpx.Response, "__init__", keep)
        client.list_sandboxes()
        assert kept
        monkeypatch.setattr(httpcore.HTTPConnection, "handle_request", forget_and_send)
        client.list_sandboxes()
    assert closed == [False]
