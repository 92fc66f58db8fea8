"""Spans: one a call at the client and one at the orchestrator, of one trace, alike over each transport."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from faults import FaultProxy, cut_after, cut_before
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from quartet import CLIENTS, quartet

import flash_sandbox
from flash_sandbox import (
    AuthenticationError,
    SandboxAPI,
    SandboxConnectionError,
    SandboxFileNotFoundError,
    SandboxNotFoundError,
    UnsupportedError,
    tracing,
)
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.doors import call
from flash_sandbox.orchestrator.doors.call import Call
from flash_sandbox.orchestrator.doors.calls import Calls
from flash_sandbox.orchestrator.doors.request_log import RequestLog
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

Connect = Callable[..., SandboxAPI]

PATIENCE: Final = 10.0
# What tells over which transport a call went, or differs from call to call.
OWN: Final = {
    *("http.request.method", "http.response.status_code", "http.route", "url.template"),
    *("rpc.system.name", "rpc.method", "rpc.response.status_code"),
    *("server.port", "flash_sandbox.request.id"),
}


class Spans:
    """The spans that have ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def of(self, operation: str, kind: SpanKind, count: int = 1) -> list[ReadableSpan]:
        """Return the spans of an operation, once there are `count`: the server's end after the answer."""
        deadline = time.monotonic() + PATIENCE
        while True:
            spans = self._exporter.get_finished_spans()
            found = [s for s in spans if s.name == f"flash_sandbox/{operation}" and s.kind is kind]
            if len(found) >= count or time.monotonic() > deadline:
                assert len(found) == count
                return found
            time.sleep(0.005)

    def pair(self, operation: str) -> tuple[ReadableSpan, ReadableSpan]:
        """Return the only span of an operation at the client and the one at the orchestrator."""
        (client,), (server,) = self.of(operation, SpanKind.CLIENT), self.of(operation, SpanKind.SERVER)
        return client, server

    def clear(self) -> None:
        """Forget those that have ended."""
        self._exporter.clear()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """Configure a tracer provider, for this test alone; a program does so once."""
    provider = TracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[Spans]:
    """Collect the spans."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Spans(exporter)
    provider.shutdown()


Received = list[Mapping[str, str]]


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Received:
    """Note the headers of each request that reaches the orchestrator."""
    noted: Received = []

    def spy(operation: str, name: Any, headers: Callable[[], Mapping[str, str]]) -> Any:
        noted.append(headers())
        return tracing.server_span(operation, name, headers)

    monkeypatch.setattr(call, "server_span", spy)
    return noted


@pytest.fixture
def transport(kind: str) -> str:
    """Name the transport under test."""
    return "http" if "HTTP" in kind else "grpc"


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


def assert_joined(client: ReadableSpan, server: ReadableSpan) -> None:
    """Check that the server's span is the child of the client's, of one request."""
    assert server.context.trace_id == client.context.trace_id
    assert server.parent is not None
    assert server.parent.span_id == client.context.span_id
    assert server.parent.is_remote
    requests = {attributes_of(span)["flash_sandbox.request.id"] for span in (client, server)}
    assert len(requests) == 1


class TestCall:
    def test_is_one_trace(
        self, spans: Spans, client: SandboxAPI, sandbox_id: str, address: str, transport: str
    ) -> None:
        client.get_status(sandbox_id)
        mine, theirs = spans.pair("get_status")
        assert_joined(mine, theirs)
        assert mine.parent is None
        both = {"flash_sandbox.operation": "get_status", "flash_sandbox.sandbox.id": sandbox_id}
        host, _, port = address.removeprefix("http://").rpartition(":")
        there = {"server.address": host, "server.port": int(port), "flash_sandbox.attempts": 1}
        if transport == "http":
            both |= {"http.request.method": "GET", "http.response.status_code": 200}
            mine_only, theirs_only = {"url.template": "/sandboxes/{id}"}, {"http.route": "/sandboxes/{id}"}
        else:
            both |= {"rpc.system.name": "grpc", "rpc.method": "sandbox.SandboxService/GetStatus"}
            both |= {"rpc.response.status_code": "OK"}
            mine_only, theirs_only = {}, {}
        request = {"flash_sandbox.request.id": attributes_of(mine)["flash_sandbox.request.id"]}
        assert attributes_of(mine) == both | there | mine_only | request
        assert attributes_of(theirs) == both | theirs_only | request
        assert (mine.status.status_code, theirs.status.status_code) == (StatusCode.UNSET, StatusCode.UNSET)

    def test_that_is_refused(self, spans: Spans, client: SandboxAPI, transport: str) -> None:
        with pytest.raises(SandboxNotFoundError) as caught:
            client.get_status("nope")
        mine, theirs = spans.pair("get_status")
        assert_joined(mine, theirs)
        name = "http.response.status_code" if transport == "http" else "rpc.response.status_code"
        for span in (mine, theirs):
            told = attributes_of(span)
            assert told["error.type"] == "sandbox_not_found"
            assert told[name] == (404 if transport == "http" else "NOT_FOUND")
            assert told["flash_sandbox.request.id"] == caught.value.request_id
        # What a caller does wrong is no error of the server.
        assert (mine.status.status_code, theirs.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)

    def test_that_the_orchestrator_cannot_serve_is_an_error_at_both_ends(
        self, spans: Spans, client: SandboxAPI
    ) -> None:
        with pytest.raises(UnsupportedError):
            client.start_sandbox("firecracker")
        mine, theirs = spans.pair("start_sandbox")
        assert_joined(mine, theirs)
        assert (mine.status.status_code, theirs.status.status_code) == (StatusCode.ERROR, StatusCode.ERROR)

    def test_without_the_key_has_a_span_at_both_ends(
        self, spans: Spans, connect: Connect, transport: str, limits: Limits
    ) -> None:
        with running_orchestrator(limits=limits, api_key="the-key") as own:
            address = own.http_address if transport == "http" else own.grpc_address
            with pytest.raises(AuthenticationError):
                connect(address, api_key="the-wrong-key").list_sandboxes()
            mine, theirs = spans.pair("list_sandboxes")
        assert_joined(mine, theirs)
        assert attributes_of(theirs)["error.type"] == "unauthenticated"
        assert "the-" not in mine.to_json() + theirs.to_json()

    def test_that_starts_a_sandbox_names_it(self, spans: Spans, client: SandboxAPI) -> None:
        started = client.start_sandbox(memory_mb=64)
        for span in spans.pair("start_sandbox"):
            assert attributes_of(span)["flash_sandbox.sandbox.id"] == started
        client.stop_sandbox(started)

    def test_that_reaches_nobody(self, spans: Spans, connect: Connect) -> None:
        with pytest.raises(SandboxConnectionError):
            connect("127.0.0.1:1", max_retries=0).list_sandboxes()
        (mine,) = spans.of("list_sandboxes", SpanKind.CLIENT)
        told = attributes_of(mine)
        assert (told["error.type"], told["server.port"]) == ("connection_failed", 1)
        assert not {"http.response.status_code", "rpc.response.status_code"} & set(told)
        assert mine.status.status_code is StatusCode.ERROR

    @pytest.mark.parametrize("kind", ["AsyncHTTPClient", "AsyncSandboxClient"], scope="session")
    def test_that_is_cancelled_ends_its_span_at_both_ends(
        self, spans: Spans, client: SandboxAPI, kind: str, address: str, sandbox_id: str
    ) -> None:
        async def cancel() -> None:
            async with getattr(flash_sandbox, kind)(address=address) as mine:
                call = asyncio.create_task(mine.exec_command(sandbox_id, "touch /tmp/runs; sleep 60"))
                async with asyncio.timeout(PATIENCE):
                    while not (await mine.exec_command(sandbox_id, "test -e /tmp/runs")).ok:
                        pass
                spans.clear()
                call.cancel()
                await asyncio.wait({call})

        asyncio.run(cancel())
        mine, theirs = spans.pair("exec_command")
        assert_joined(mine, theirs)
        assert attributes_of(mine)["error.type"] == "CancelledError"
        assert attributes_of(theirs)["error.type"] == "cancelled"

    def test_holds_nothing_of_bodies_and_output(
        self, spans: Spans, client: SandboxAPI, sandbox_id: str
    ) -> None:
        client.exec_command(sandbox_id, "echo the-output", env={"A": "the-variable"}, stdin="the-input")
        with pytest.raises(SandboxFileNotFoundError):
            client.read_file(sandbox_id, "/the-path")
        told = [*spans.pair("exec_command"), *spans.pair("read_file")]
        assert "the-" not in "".join(span.to_json() for span in told)


class TestRepetition:
    def test_is_an_event_of_the_one_span(
        self, spans: Spans, connect: Connect, sandbox_id: str, address: str
    ) -> None:
        with FaultProxy(address, [cut_before, cut_before]) as proxy:
            connect(proxy.address).get_status(sandbox_id)
        mine, theirs = spans.pair("get_status")
        assert_joined(mine, theirs)
        assert attributes_of(mine)["flash_sandbox.attempts"] == 3
        assert mine.status.status_code is StatusCode.UNSET
        assert [event.name for event in mine.events] == ["retry", "retry"]
        for event in mine.events:
            told = dict(event.attributes or {})
            assert told["error.type"] == "connection_failed"
            assert 0 < told["flash_sandbox.retry.delay_s"] < 1

    def test_that_reaches_the_server_twice_has_two_children(
        self, spans: Spans, connect: Connect, sandbox_id: str, address: str
    ) -> None:
        with FaultProxy(address, [cut_after]) as proxy:
            connect(proxy.address).get_status(sandbox_id)
        (mine,) = spans.of("get_status", SpanKind.CLIENT)
        for theirs in spans.of("get_status", SpanKind.SERVER, 2):
            assert_joined(mine, theirs)


class TestStream:
    def test_is_covered_from_its_beginning_to_its_end(
        self, spans: Spans, client: SandboxAPI, sandbox_id: str
    ) -> None:
        with client.exec_stream(sandbox_id, "echo hi; read line", keep_stdin=True) as stream:
            assert next(iter(stream)).type == "started"
            assert spans.of("exec_stream", SpanKind.CLIENT, 0) == []
            stream.send_stdin("\n", end=True)
            rest = list(stream)
        assert rest[-1].type == "exit"
        mine, theirs = spans.pair("exec_stream")
        assert_joined(mine, theirs)
        assert attributes_of(mine)["flash_sandbox.sandbox.id"] == sandbox_id
        # What is called meanwhile is no part of it.
        (written,) = spans.of("write_stdin", SpanKind.CLIENT)
        assert written.context.trace_id != mine.context.trace_id

    def test_that_is_left_is_no_error(self, spans: Spans, client: SandboxAPI, sandbox_id: str) -> None:
        with client.exec_stream(sandbox_id, "sleep 60"):
            pass
        mine, theirs = spans.pair("exec_stream")
        assert_joined(mine, theirs)
        assert mine.status.status_code is StatusCode.UNSET
        assert "error.type" not in attributes_of(mine)
        assert attributes_of(theirs)["error.type"] == "cancelled"
        assert theirs.status.status_code is StatusCode.UNSET

    def test_that_fails(self, spans: Spans, client: SandboxAPI) -> None:
        with pytest.raises(SandboxNotFoundError):
            client.exec_stream("nope", "true")
        mine, theirs = spans.pair("exec_stream")
        assert_joined(mine, theirs)
        assert {attributes_of(span)["error.type"] for span in (mine, theirs)} == {"sandbox_not_found"}

    def test_of_a_request_is_one_trace(
        self, spans: Spans, client: SandboxAPI, sandbox_id: str, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("content")
        client.upload(sandbox_id, tmp_path / "file", "/tmp/file")
        client.download(sandbox_id, "/tmp/file", tmp_path / "copy")
        for operation in ("upload_archive", "download_archive"):
            assert_joined(*spans.pair(operation))


async def ask(kind: str, address: str, *afterwards: Callable[[], Any], **options: Any) -> None:
    """List the sandboxes by a client of a kind, in the context of the caller."""
    client = getattr(flash_sandbox, kind)(address=address, **options)
    for method in (client.list_sandboxes, client.close, *afterwards):
        result = method()
        if inspect.isawaitable(result):
            await result


class TestContext:
    def test_is_that_of_the_caller(
        self, spans: Spans, provider: TracerProvider, kind: str, address: str
    ) -> None:
        with provider.get_tracer("test").start_as_current_span("outer") as outer:
            asyncio.run(ask(kind, address))
            assert trace.get_current_span() is outer
        mine, theirs = spans.pair("list_sandboxes")
        assert_joined(mine, theirs)
        assert mine.parent == outer.get_span_context()

    def test_reaches_the_other_end_whole(
        self, spans: Spans, received: Received, kind: str, address: str
    ) -> None:
        token = context.attach(baggage.set_baggage("who", "a \N{SNOWMAN}, a value"))
        try:
            asyncio.run(ask(kind, address))
        finally:
            context.detach(token)
        (headers,) = received
        assert baggage.get_baggage("who", propagate.extract(headers)) == "a \N{SNOWMAN}, a value"

    def test_is_sent_in_place_of_what_goes_with_every_call(
        self, spans: Spans, kind: str, address: str
    ) -> None:
        stale = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "x-request-id": "stale"}
        session = {"HTTPClient": httpx.Client, "AsyncHTTPClient": httpx.AsyncClient}.get(kind)
        if session is None:
            asyncio.run(ask(kind, address, metadata=stale))
        else:
            made = session(headers=stale)
            close = made.aclose if isinstance(made, httpx.AsyncClient) else made.close
            asyncio.run(ask(kind, address, close, session=made))
        assert_joined(*spans.pair("list_sandboxes"))

    def test_that_is_not_sampled_is_told_so(
        self, monkeypatch: pytest.MonkeyPatch, received: Received, kind: str, address: str
    ) -> None:
        off = TracerProvider(ALWAYS_OFF)
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: off)
        asyncio.run(ask(kind, address))
        (headers,) = received
        told = re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-([0-9a-f]{2})", headers["traceparent"])
        assert told is not None
        # The lowest bit (W3C Trace Context, sampled flag).
        assert not int(told[1], 16) & 1

    def test_is_the_call_for_what_a_session_does(self, spans: Spans, orchestrator: Orchestrator) -> None:
        during: list[int] = []
        hooks = {"request": [lambda _: during.append(trace.get_current_span().get_span_context().span_id)]}
        with httpx.Client(event_hooks=hooks) as session:
            asyncio.run(ask("HTTPClient", orchestrator.http_address, session=session))
        mine, _ = spans.pair("list_sandboxes")
        assert during == [mine.context.span_id]

    def test_that_no_header_can_carry_is_left_out(
        self, spans: Spans, monkeypatch: pytest.MonkeyPatch, received: Received, kind: str, address: str
    ) -> None:
        def inject(carrier: dict[str, str], context: object = None) -> None:
            carrier |= {
                "X-Trace": "fine",
                "x-bad": "a\r\nb: c",
                "bad name": "x",
                "x-empty": "",
                "x-\xe9": "x",
            }

        monkeypatch.setattr(propagate, "inject", inject)
        asyncio.run(ask(kind, address))
        (headers,) = received
        assert headers["x-trace"] == "fine"
        assert not {"x-bad", "b", "bad name", "x-empty", "x-\xe9"} & set(headers)


class TestOrchestrator:
    def test_does_its_work_within_the_span(self, spans: Spans) -> None:
        async def work() -> trace.Span:
            return trace.get_current_span()

        async def answer(headers: dict[str, str]) -> None:
            call = Call.begin("http", None, "get_status", lambda: headers)
            inside = Calls(RequestLog())
            within.append(await inside.perform(call, 1.0, work))
            inside.ended(call, 200)
            assert not trace.get_current_span().get_span_context().is_valid

        within: list[trace.Span] = []
        asyncio.run(answer({"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}))
        (span,) = spans.of("get_status", SpanKind.SERVER)
        assert within[0].get_span_context() == span.context
        assert span.context.trace_id == int("1" * 32, 16)

    @pytest.mark.parametrize("header", ["", "rubbish", f"00-{'0' * 32}-{'2' * 16}-01", "\x00\xff" * 4000])
    def test_begins_a_trace_where_the_header_is_none(self, spans: Spans, header: str) -> None:
        call = Call.begin("http", None, "get_status", lambda: {"traceparent": header})
        assert call.span is not None
        assert int(call.span.trace_id, 16)

    @pytest.mark.parametrize("operation", ["get_health", "options", "GET /whatever/somebody/asks/for"])
    def test_has_no_span_for_what_is_no_operation(self, spans: Spans, operation: str) -> None:
        assert Call.begin("http", None, operation).span is None

    def test_logs_the_trace(self, spans: Spans, client: SandboxAPI, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "flash_sandbox.orchestrator"):
            client.list_sandboxes()
            mine, _ = spans.pair("list_sandboxes")
            client.list_sandboxes()
        assert f"trace_id={mine.context.trace_id:032x} " in caplog.text


class TestTransports:
    def test_say_the_same_but_for_what_is_their_own(self, spans: Spans, orchestrator: Orchestrator) -> None:
        told: dict[str, list[Any]] = {}
        with quartet(orchestrator.http_address, orchestrator.grpc_address) as clients:
            sandbox = clients["HTTPClient"].start_sandbox(memory_mb=64)
            for name, client in clients.items():
                spans.clear()
                client.get_status(sandbox)
                with client.exec_stream(sandbox, "true") as stream:
                    list(stream)
                with pytest.raises(SandboxNotFoundError):
                    client.get_info("nope")
                told[name] = [
                    (span.name, span.kind, span.status.status_code, _shared(span))
                    for operation in ("get_status", "exec_stream", "get_info")
                    for span in spans.pair(operation)
                ]
            clients["HTTPClient"].stop_sandbox(sandbox)
        assert len(told["HTTPClient"]) == 6
        for name in CLIENTS:
            assert told[name] == told["HTTPClient"]


def _shared(span: ReadableSpan) -> dict[str, Any]:
    return {name: value for name, value in attributes_of(span).items() if name not in OWN}


class TestWithout:
    def test_a_provider_nothing_is_sent(
        self, received: Received, client: SandboxAPI, sandbox_id: str, tmp_path: Path
    ) -> None:
        del received[:]
        (tmp_path / "file").write_text("content")
        client.get_status(sandbox_id)
        client.upload(sandbox_id, tmp_path / "file", "/tmp/file")
        with client.exec_stream(sandbox_id, "true") as stream:
            list(stream)
        assert len(received) >= 3
        assert not {"traceparent", "x-request-id"} & {name for headers in received for name in headers}

    def test_a_provider_there_is_no_span(self, client: SandboxAPI) -> None:
        client.list_sandboxes()
        assert tracing.tracer() is None
        assert Call.begin("http", None, "get_status").span is None

    @pytest.mark.parametrize("blocked", [True, False])
    def test_the_package_all_works(self, blocked: bool) -> None:
        # In a process that has not imported it; where it is installed, it is not imported then.
        program = f"""
            import sys
            if {blocked}:
                sys.modules["opentelemetry"] = None
            import flash_sandbox
            from flash_sandbox.orchestrator import running_orchestrator
            with running_orchestrator(limits="best-effort") as own:
                for client in (
                    flash_sandbox.HTTPClient(address=own.http_address),
                    flash_sandbox.SandboxClient(address=own.grpc_address),
                ):
                    with client, flash_sandbox.Sandbox.create(client=client, memory_mb=64) as sandbox:
                        print(sandbox.exec_command("echo works").stdout, end="")
            print([name for name, module in sys.modules.items() if "opentelemetry" in name and module])
        """
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
        )
        assert (ran.stderr, ran.stdout) == ("", "works\nworks\n[]\n")
