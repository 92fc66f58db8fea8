"""Clients that wait go on when their orchestrator has been ended and another one has taken its place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

from quartet import CLIENTS, quartet
from served import Serving
from test_restart import Survivor, kind, survivor

from flash_sandbox import Event, ExecResult, SandboxAPI

__all__ = ["kind", "survivor"]

LINES = 150
COUNTING = f"i=0; while [ $i -lt {LINES} ]; do i=$((i + 1)); echo $i; sleep 0.05; done; exit 7"
COUNTED = "".join(f"{number}\n" for number in range(1, LINES + 1)).encode()
PATIENCE = 120

Begun = Callable[[], None]


def followed(client: SandboxAPI, sandbox: str, process: str, begun: Begun) -> tuple[bytes, int]:
    """Return what a process has printed, and its exit status, as its output is followed."""
    printed = b""
    with client.follow_process(sandbox, process) as frames:
        for frame in frames:
            printed += frame.data
            if printed:
                begun()
        assert frames.exit is not None
        return printed, frames.exit.exit_code


def waited_for(client: SandboxAPI, sandbox: str, process: str, begun: Begun) -> ExecResult:
    begun()
    return client.wait_process(sandbox, process, timeout=PATIENCE)


def watched(client: SandboxAPI, sandbox: str, process: str, begun: Begun) -> list[Event]:
    """Return the events until a sandbox has been removed."""
    seen: list[Event] = []
    with client.watch_events() as events:
        begun()
        for event in events:
            seen.append(event)
            if event.type == "removed":
                break
    return seen


def ports(serving: Serving) -> list[str]:
    http, grpc = urlsplit(serving.http).port, serving.grpc.rpartition(":")[2]
    return ["--http-port", str(http), "--grpc-port", grpc]


def test_waits_and_streams_of_every_client_go_on(survivor: Survivor) -> None:
    waiting: dict[str, list[Future[Any]]] = {}
    with ThreadPoolExecutor(3 * len(CLIENTS)) as pool:
        with survivor.serving() as (serving, client):
            one = survivor.start(client)
            process = client.start_process(one, ["sh", "-c", COUNTING])
            all_begun = []

            def call(name: str, act: Callable[..., Any], begun: Begun) -> Any:
                with quartet(serving.http, serving.grpc) as clients:
                    return act(clients[name], one, process, begun)

            for act in (followed, waited_for, watched):
                waiting[act.__name__] = []
                for name in CLIENTS:
                    begun = threading.Event()
                    all_begun.append(begun)
                    waiting[act.__name__].append(pool.submit(call, name, act, begun.set))
            assert all(begun.wait(PATIENCE) for begun in all_begun)
            client.pause_sandbox(one)
            client.resume_sandbox(one)
            survivor.end(serving)
        with survivor.last(*ports(serving)) as client:
            wait(waiting["followed"] + waiting["waited_for"], PATIENCE)
            assert client.list_processes(one)[0].exit_code == 7
            client.stop_sandbox(one)
            wait(waiting["watched"], PATIENCE)
            # A stream that is still open would not end with the orchestrator.
            assert all(each.done() for calls in waiting.values() for each in calls)
    for each in waiting["followed"]:
        assert each.result() == (COUNTED, 7)
    for each in waiting["waited_for"]:
        result = each.result()
        assert (result.stdout.encode(), result.exit_code) == (COUNTED, 7)
    first = waiting["watched"][0].result()
    assert [event.type for event in first] == ["paused", "running", "running", "removed"]
    places = [int(event.token.rpartition("-")[2]) for event in first]
    assert places == list(range(places[0], places[0] + len(places)))
    assert all(each.result() == first for each in waiting["watched"])
