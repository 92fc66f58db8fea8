"""Answers that no orchestrator gives: the same error through every client, and never any other exception."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
import requests
from faults import Fault, FaultProxy, Link
from foreign import SETTINGS, Answer, Error, ForeignServer, Message, Page, Raw, Stream
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from quartet import Failure, failure_of, quartet

from flash_sandbox import (
    ConflictError,
    HTTPClient,
    InternalServerError,
    ProtocolError,
    SandboxError,
    UnavailableError,
)
from flash_sandbox.errors import TABLE, Row, reason_of_status_code
from flash_sandbox.models import ExecResult
from flash_sandbox.orchestrator import Orchestrator

STATUSES = [
    *(400, 401, 403, 404, 405, 407, 408, 409, 411, 413, 418, 421, 422, 425, 429, 431, 451, 499),
    *(500, 501, 502, 503, 504, 505, 507, 511, 520, 521, 524, 530, 599),
]
HTML = b"<html><head><title>Bad Gateway</title></head><body>nginx</body></html>"

# With many more examples a test takes longer than others may.
pytestmark = pytest.mark.timeout(1800)

all_clients = settings(suppress_health_check=list(HealthCheck))


def outcomes(answer: Answer, method: str, *arguments: Any) -> list[Any]:
    """Make a call through each client of a server that gives this answer; return results and failures."""
    with (
        ForeignServer(answer) as server,
        quartet(server.address, server.address, max_retries=0, timeout=20) as clients,
    ):
        return [outcome(getattr(client, method), *arguments) for client in clients.values()]


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except SandboxError as error:
        return failure_of(error)


def only(values: list[Any]) -> Any:
    """Return the one value that all of them are."""
    assert values == [values[0]] * len(values)
    return values[0]


class TestPagesOfAProxy:
    @pytest.mark.parametrize("status", STATUSES)
    def test_its_status_decides(self, status: int) -> None:
        failure = only(outcomes(Page(status, HTML), "get_status", "a"))
        assert (failure.status_code, failure.reason) == (status, reason_of_status_code(status))
        assert failure.detail.startswith(f"HTTP {status}")

    def test_bad_gateway_is_unavailable(self) -> None:
        failure = only(outcomes(Page(502, HTML), "exec_command", "a", ["true"]))
        assert failure == Failure(
            UnavailableError,
            "unavailable",
            502,
            "UNAVAILABLE",
            "HTTP 502 Bad Gateway",
            True,
            "exec_command",
            None,
        )

    def test_empty_body_says_as_much_as_its_status(self) -> None:
        assert only(outcomes(Page(503), "get_status", "a")).detail == "HTTP 503 Service Unavailable"

    @pytest.mark.parametrize("status", [201, 204, 301, 302, 304, 600, 999])
    def test_other_status_is_a_protocol_error(self, status: int) -> None:
        failure = kinds(outcomes(Page(status, b""), "get_status", "a"))
        assert failure == (ProtocolError, "bad_response", None, False)

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (HTML, "text/html"),
            (b"", "text/html"),
            (b"ok", "text/plain"),
            (b"[]", "application/json"),
            (b"", "application/grpc"),
            (b"\0\0\0\0\0", "application/grpc"),
            (b"\0\0\0\0\x05a", "application/grpc"),
        ],
    )
    def test_page_instead_of_an_answer_is_a_protocol_error(self, body: bytes, content_type: str) -> None:
        failure = kinds(outcomes(Page(200, body, content_type), "get_status", "a"))
        assert failure == (ProtocolError, "bad_response", None, False)


def kinds(failures: list[Failure]) -> tuple[type[SandboxError], str, int | None, bool]:
    """Return what kind of failure all of them are, whatever their words."""
    kind = [(one.kind, one.reason, one.status_code, one.retryable) for one in failures]
    return only(kind)  # type: ignore[no-any-return]


def compressed(status: int) -> Raw:
    """Return an answer over HTTP that is compressed three times: a few hundred bytes of this may be 4 GiB."""
    body = b'{"stdout": "a", "detail": "b"}'
    for _ in range(3):
        body = gzip.compress(body)
    head = f"HTTP/1.1 {status} Whatever\r\ncontent-length: {len(body)}\r\ncontent-encoding: gzip, gzip, gzip"
    return Raw(head.encode() + b"\r\n\r\n" + body, b"")


@pytest.mark.parametrize("session", [None, httpx.Client, requests.Session])
@pytest.mark.parametrize(("status", "error"), [(200, ProtocolError), (502, UnavailableError)])
def test_compressed_answer_is_refused_unread(
    session: Callable[[], Any] | None, status: int, error: type[SandboxError]
) -> None:
    with (
        ForeignServer(compressed(status)) as server,
        nullcontext() if session is None else session() as given,
        HTTPClient(address=server.address, session=given, max_retries=0) as client,
        pytest.raises(error, match=r"compressed|Bad Gateway"),
    ):
        client.exec_command("a", ["true"])


class TestAnswers:
    @pytest.mark.parametrize(
        "answer",
        [
            Message(b'{"stdout": "hell', b"\x0a\x0bhell"),
            Message(b"", b"\x0a"),
            Message(b'{"stdout": 5}', b"\x08\x05"),
            Message(b'{"exit_code": "5"}', b"\x1a\x015"),
            Message(b'{"exit_code": 2147483648}', b"\x18\x80\x80\x80\x80\x08"),
            Message(b'{"stdout_dropped": -1}', b"\xa2\x06\x01-"),
            Message(b'{"stdout": "\xff"}', b"\x0a\x01\xff"),
            Message(b'{"stdout": "\\ud800"}', b"\x0a\x03\xed\xa0\x80"),
            Message(b'{"exit_code": NaN}', b"\x1d\x00\x00\xc0\x7f"),
            Message(b"[" * 15_000, b"\x0b" * 15_000),
        ],
        ids=[
            "cut short",
            "nothing",
            "number for text",
            "text for number",
            "too large",
            "negative",
            "not UTF-8",
            "surrogate",
            "NaN",
            "deep",
        ],
    )
    def test_malformed_answer_is_a_protocol_error(self, answer: Message) -> None:
        failure = kinds(outcomes(answer, "exec_command", "a", ["true"]))
        assert failure == (ProtocolError, "bad_response", None, False)

    @pytest.mark.parametrize(
        "answer",
        [
            Message(b"{}", b""),
            Message(b'{"stdout": null, "exit_code": null}', b"\x0a\x00\x18\x00"),
            Message(b'{"stdin": "a", "colour": 7}', b"\xc2\x3e\x01a\xc8\x3e\x07"),
        ],
        ids=["missing", "null", "unknown"],
    )
    def test_missing_and_unknown_fields_are_let_pass(self, answer: Message) -> None:
        assert only(outcomes(answer, "exec_command", "a", ["true"])) == ExecResult()

    def test_state_of_a_newer_orchestrator_is_told(self) -> None:
        answer = Message(b'{"id": "a", "status": "hibernated"}', b"\x0a\x01a\x12\x0ahibernated")
        assert only(outcomes(answer, "get_status", "a")) == "hibernated"

    @pytest.mark.parametrize("name", ["", ".", "..", "../../x", "/abs", "a/b", "a\0b"])
    def test_name_that_no_file_in_a_directory_has_is_a_protocol_error(self, name: str) -> None:
        entry = b"\x0a%c%s" % (len(name), name.encode())
        answer = Message(
            json.dumps({"entries": [{"name": name}]}).encode(), b"\x0a%c%s" % (len(entry), entry)
        )
        assert kinds(outcomes(answer, "list_dir", "a", "/d"))[:2] == (ProtocolError, "bad_response")

    @pytest.mark.parametrize("sandbox_id", ["", "..", "a/b"])
    def test_id_that_is_none_is_a_protocol_error(self, sandbox_id: str) -> None:
        data = sandbox_id.encode()
        answer = Message(b'{"id": "%s"}' % data, b"\x0a%c%s" % (len(data), data))
        assert kinds(outcomes(answer, "start_sandbox"))[0] is ProtocolError


OVER_HTTP = ("HTTPClient", "AsyncHTTPClient")


def outcomes_over_http(answer: Answer, call: Callable[[Any], Any]) -> list[Any]:
    """Make a call through each client of HTTP; return results and failures."""
    with (
        ForeignServer(answer) as server,
        quartet(server.address, server.address, max_retries=0, timeout=20) as clients,
    ):
        return [outcome(call, clients[name]) for name in OVER_HTTP]


class TestJSONAlone:
    @pytest.mark.parametrize("text", ["/w==!", "/w= =", "/w", "/w===", "=/w=", "_w==", r"\u002fw==!"])
    def test_bytes_that_are_not_exactly_base64_are_a_protocol_error(self, text: str) -> None:
        answer = Message(b'{"stdout":"a","stdout_raw":"%s"}' % text.encode(), b"")
        failure = kinds(outcomes_over_http(answer, lambda client: client.exec_command("a", ["true"])))
        assert failure == (ProtocolError, "bad_response", None, False)

    @pytest.mark.parametrize("status", [None, "409", 0, 99, 200, 399, 600, 10**9, 409.5, True])
    def test_an_error_in_a_stream_whose_status_is_none_of_an_error_is_one_of_the_server(
        self, status: object
    ) -> None:
        fields = {"detail": "why", "reason": "in_a_dream", "status": status}
        line = json.dumps({"error": fields}).encode()
        answer = Stream(((line, b""),), ends=True)
        failure = only(outcomes_over_http(answer, lambda client: list(client.exec_stream("a", ["true"]))))
        assert (failure.kind, failure.status_code) == (InternalServerError, 500)
        assert (failure.reason, failure.detail) == ("in_a_dream", "why")

    def test_the_status_of_an_error_in_a_stream_is_its_class(self) -> None:
        line = b'{"error": {"detail": "why", "reason": "in_a_dream", "status": 409}}'
        answer = Stream(((line, b""),), ends=True)
        failure = only(outcomes_over_http(answer, lambda client: list(client.exec_stream("a", ["true"]))))
        assert (failure.kind, failure.status_code) == (ConflictError, 409)


class TestErrors:
    @pytest.mark.parametrize("row", [row for row in TABLE if row.status_code], ids=lambda row: row.reason)
    def test_every_row_of_the_table_comes_out_the_same(self, row: Row) -> None:
        assert row.status_code is not None
        assert row.grpc_status is not None
        detail = "why: \u20ac, % and \n"
        answer = Error(row.status_code, row.grpc_status, row.reason, detail, retryable=row.retryable)
        assert only(outcomes(answer, "exec_command", "a", ["true"])) == Failure(
            row.error,
            row.reason,
            row.status_code,
            row.grpc_status,
            detail,
            row.retryable,
            "exec_command",
            None,
        )

    def test_reason_of_a_newer_orchestrator_keeps_its_name_and_has_the_class_of_its_status(self) -> None:
        answer = Error(409, "FAILED_PRECONDITION", "in_a_dream", "it sleeps", retryable=True)
        failure = only(outcomes(answer, "get_status", "a"))
        assert (failure.kind, failure.reason, failure.retryable) == (ConflictError, "in_a_dream", True)

    @pytest.mark.parametrize("reason", ["connection_failed", "outcome_unknown", "client_closed"])
    def test_server_cannot_claim_what_only_a_client_can_know(self, reason: str) -> None:
        failure = only(outcomes(Error(503, "UNAVAILABLE", reason, "gone"), "get_status", "a"))
        assert failure.kind is UnavailableError

    @pytest.mark.parametrize("text", ["x" * 70_000, "\u20ac" * 30_000, "%" * 70_000, "\n" * 70_000])
    def test_long_text_is_cut_and_the_connection_lives_on(
        self, orchestrator: Orchestrator, text: str
    ) -> None:
        with (
            FaultProxy(orchestrator.http_address, []) as http,
            FaultProxy(orchestrator.grpc_address, []) as grpc,
            quartet(http.address, grpc.address, max_retries=0) as clients,
        ):
            failures = []
            for client in clients.values():
                with pytest.raises(SandboxError) as caught:
                    client.start_sandbox(snapshot_path=text)
                failures.append(failure_of(caught.value))
                with pytest.raises(SandboxError, match="there is no sandbox"):
                    client.get_status("gone")
            assert (http.connections, grpc.connections) == (2, 2)
        failure = only(failures)
        assert failure.reason == "snapshot_refused"
        assert 4000 < len(failure.detail.encode()) <= 4096
        assert "bytes in all" in failure.detail


class TestOtherProtocols:
    @pytest.mark.parametrize(
        "answer",
        [
            Raw(SETTINGS, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Raw(b"\x15\x03\x03\x00\x02\x02\x46\x00\x00", b"\x15\x03\x03\x00\x02\x02\x46\x00\x00"),
        ],
        ids=["each the other", "TLS alert"],
    )
    def test_server_of_another_protocol_is_a_protocol_error(self, answer: Raw) -> None:
        failure = kinds(outcomes(answer, "exec_command", "a", ["true"]))
        assert failure == (ProtocolError, "bad_response", None, False)


def is_answered_or_one_of_our_errors(answer: Answer) -> None:
    for got in outcomes(answer, "get_status", "a"):
        assert isinstance(got, str | Failure)


frames = st.builds(
    lambda kind, flags, stream, body: (
        len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body
    ),
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 1, 1, 2, 3, 2**31 - 1]),
    st.binary(max_size=40),
)
heads = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK",
            b"\r\n",
            b"content-length: ",
            b"5",
            b"-1",
            b"transfer-encoding: chunked",
            b"\x00",
        ]
    )
    | st.binary(max_size=8)
).map(b"".join)


class TestArbitraryBytes:
    @all_clients
    @given(st.binary())
    @example(b"")
    @example(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n")
    @example(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n")
    @example(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}")
    @example(b"HTTP/1.1 000 \r\n\r\n")
    def test_as_an_answer(self, data: bytes) -> None:
        is_answered_or_one_of_our_errors(Raw(data, SETTINGS + data))

    @all_clients
    @given(heads)
    def test_among_words_of_http(self, data: bytes) -> None:
        is_answered_or_one_of_our_errors(Raw(data, data))

    @all_clients
    @given(st.lists(frames, max_size=6).map(b"".join))
    def test_as_frames(self, data: bytes) -> None:
        is_answered_or_one_of_our_errors(Raw(data, SETTINGS + data))

    @all_clients
    @given(
        status=st.integers(200, 599),
        body=st.binary(),
        content_type=st.sampled_from(["a", "application/grpc"]),
    )
    def test_as_a_page(self, status: int, body: bytes, content_type: str) -> None:
        is_answered_or_one_of_our_errors(Page(status, body, content_type))

    @all_clients
    @given(st.binary())
    def test_as_a_message(self, body: bytes) -> None:
        is_answered_or_one_of_our_errors(Message(body, body))

    @all_clients
    @given(part=st.floats(0, 1, exclude_max=True), change=st.binary(min_size=1, max_size=4))
    def test_in_the_middle_of_an_answer(self, orchestrator: Orchestrator, part: float, change: bytes) -> None:
        with (
            FaultProxy(orchestrator.http_address, [overwrite(part, change)] * 4) as http,
            FaultProxy(orchestrator.grpc_address, [overwrite(part, change)] * 4) as grpc,
            quartet(http.address, grpc.address, max_retries=0, timeout=20) as clients,
        ):
            for client in clients.values():
                assert isinstance(outcome(client.get_status, "gone"), Failure)


def overwrite(part: float, change: bytes) -> Fault:
    """Return the fault that puts `change` over an answer at `part` of it, and then closes."""

    async def fault(link: Link) -> None:
        await link.forward(await link.request())
        answer = bytearray(await link.answer())
        position = int(len(answer) * part)
        answer[position : position + len(change)] = change
        await link.reply(bytes(answer))
        link.half_close()
        await link.until_client_leaves()

    return fault
