"""Codecs: strict about what a peer sends, and tolerant where the wire contract asks for it."""

from __future__ import annotations

import dataclasses
import json
import struct
import time
from email.utils import formatdate
from typing import Any

import attrs
import flash_sandbox_grpc as messages
import flash_sandbox_http.models as schemas
import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from http_codec import decode_result, encode_request

from flash_sandbox import errors
from flash_sandbox.codecs import MAX_REQUEST_BYTES, grpc, http, http_client
from flash_sandbox.codecs.fields import answer_name
from flash_sandbox.codecs.wire import MalformedMessageError, dump_message, load_message
from flash_sandbox.models import (
    ExecRequest,
    ExecResult,
    MetricsResult,
    RemoveSnapshotRequest,
    RunPythonResult,
    StartRequest,
    StatusRequest,
    StopResult,
)
from flash_sandbox.operations import (
    EXEC_COMMAND,
    GET_METRICS,
    GET_STATUS,
    LIST_SNAPSHOTS,
    OPERATIONS,
    REMOVE_SNAPSHOT,
    RUN_PYTHON,
    START_SANDBOX,
    STOP_SANDBOX,
    Operation,
)

SERVERS_ROWS = [row for row in errors.TABLE if row.status_code is not None]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_both_generated_layers_have_the_fields_of_each_result(
    operation: Operation[Any, Any],
) -> None:
    names = {field.name for field in dataclasses.fields(operation.result)}
    schema = getattr(schemas, answer_name(operation), None)
    assert names == {field.name for field in dataclasses.fields(grpc.message_classes(operation)[1])}
    # The generator appends "_" to a name that Python reserves.
    assert schema is None or names | {"additional_properties"} == {
        field.name.removesuffix("_") for field in attrs.fields(schema)
    }


def test_http_request_has_method_path_and_body() -> None:
    call = encode_request(EXEC_COMMAND, ExecRequest("a.b-c", ("echo", "h\u00e9")))
    assert (call.method, call.url.raw_path) == ("POST", b"/sandboxes/a.b-c/exec")
    assert json.loads(call.content) == {"command": ["echo", "h\u00e9"]}


def test_what_code_printed_is_where_published_clients_look_for_it() -> None:
    result = RunPythonResult.from_exec(ExecResult("a", "b", 3))
    answer = json.loads(http.encode_result(RUN_PYTHON, result))
    assert (answer["result"], answer["exit_code"]) == ("ab", 3)
    message = grpc.encode_result(RUN_PYTHON, result)
    # Field 1, of type string.
    assert dump_message(message).startswith(b"\x0a\x02ab")


def test_what_an_older_orchestrator_says_of_code_is_its_standard_output() -> None:
    over_http = decode_result(RUN_PYTHON, b'{"result": "ab"}')
    older = load_message(grpc.message_classes(RUN_PYTHON)[1], b"\x0a\x02ab")
    assert over_http == grpc.decode_result(RUN_PYTHON, older) == RunPythonResult(result="ab")
    assert (over_http.stdout, str(over_http), over_http.ok) == ("ab", "ab", True)


def test_http_start_leaves_out_texts_that_were_not_given() -> None:
    call = encode_request(START_SANDBOX, StartRequest("docker", "alpine", (), 512, 1.0))
    assert json.loads(call.content) == {
        "type": "docker",
        "image": "alpine",
        "command": [],
        "memory_mb": 512,
        "cpu_cores": 1.0,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"memory_mb": 0, "cpu_cores": 0, "type": "", "command": []}',
        b'{"template": "x", "gpu": {"driver": "y"}}',
    ],
)
def test_http_zero_absent_and_unknown_fields_of_a_request_are_not_given(body: bytes) -> None:
    assert http.decode_request(START_SANDBOX, {}, {}, body) == StartRequest()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"type": 1}', "type must be a string"),
        (b'{"type": 0}', "type must be a string"),
        (b'{"memory_mb": "512"}', "memory_mb must be an integer"),
        (b'{"memory_mb": ""}', "memory_mb must be an integer"),
        (b'{"memory_mb": false}', "memory_mb must be an integer"),
        (b'{"memory_mb": 1.0}', "memory_mb must be an integer"),
        (b'{"memory_mb": 9223372036854775808}', "memory_mb must be 0 to"),
        (b'{"cpu_cores": true}', "cpu_cores must be a number"),
        (b'{"cpu_cores": NaN}', "not JSON"),
        (b'{"cpu_cores": -Infinity}', "not JSON"),
        (b'{"cpu_cores": 1e999}', "cpu_cores must be finite"),
        (b'{"command": "ls"}', "command must be a list of strings"),
        (b'{"command": {"0": "ls"}}', "command must be a list of strings"),
        (b'{"command": [1]}', "command must be a list of strings"),
        (b'{"network": null}', "network must not be null"),
        (b'{"memory_mb": null}', "memory_mb must not be null"),
        (b'{"command": [null]}', "command must be a list of strings"),
        (b'{"image": "\\ud800"}', "lone surrogate"),
        (b'{"memory_mb": ' + b"1" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"type": "x"', "not JSON"),
        (b'\xef\xbb\xbf{"type": "x"}', "not JSON"),
        ('{"type": "x"}'.encode("utf-16"), "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
    ],
)
def test_http_request_that_does_not_fit_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=words):
        http.decode_request(START_SANDBOX, {}, {}, body)


def test_http_path_parameter_counts_more_than_the_body() -> None:
    request = http.decode_request(EXEC_COMMAND, {"id": "a"}, {}, b'{"id": "b", "command": ["x"]}')
    assert request == ExecRequest("a", ("x",))


def test_http_exec_without_a_command_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="at least one element"):
        http.decode_request(EXEC_COMMAND, {"id": "a"}, {}, b"{}")


def test_http_missing_null_and_unknown_fields_of_an_answer_read_as_defaults() -> None:
    body = b'{"stdout": "hi", "stderr": null, "more": [1]}'
    assert decode_result(EXEC_COMMAND, body) == ExecResult("hi", "", 0)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"exit_code": "0"}', b'{"exit_code": 2147483648}'])
def test_http_answer_that_does_not_fit_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(errors.ProtocolError):
        decode_result(EXEC_COMMAND, body)


def test_http_answer_to_a_start_needs_an_id() -> None:
    with pytest.raises(errors.ProtocolError, match="sandbox ID"):
        decode_result(START_SANDBOX, b"{}")


def test_http_result_without_fields_has_no_body_and_ignores_one() -> None:
    assert http.encode_result(STOP_SANDBOX, StopResult()) is None
    assert decode_result(STOP_SANDBOX, b"deleted\n") == StopResult()


@pytest.mark.parametrize("row", SERVERS_ROWS, ids=lambda row: row.reason)
def test_error_is_the_same_after_either_transport(row: errors.Row) -> None:
    error = row.error("why \u20ac", reason=row.reason, request_id="r1")
    status_code, body = http.encode_error(error)
    over_http = http_client.decode_error("get_status", status_code, {}, body)
    over_grpc = grpc.decode_error("get_status", grpc.encode_error(error))
    assert type(over_http) is type(over_grpc) is row.error
    assert over_http.detail == over_grpc.detail == error.detail
    assert {**over_http.fields(), "transport": None} == {**over_grpc.fields(), "transport": None}


@pytest.mark.parametrize(
    "row", [row for row in errors.TABLE if not row.status_code], ids=lambda row: row.reason
)
def test_answer_cannot_tell_what_only_a_client_can_find(row: errors.Row) -> None:
    error = row.error("why")
    over_http = http_client.decode_error(
        "exec_command", *http.encode_error(error)[:1], {}, http.encode_error(error)[1]
    )
    over_grpc = grpc.decode_error("exec_command", grpc.encode_error(error))
    assert type(over_http) is type(over_grpc) is errors.InternalServerError
    assert over_http.reason == over_grpc.reason == row.reason


def test_error_text_that_utf8_cannot_carry_is_replaced_on_both_transports() -> None:
    error = errors.ConflictError("no \ud800!")
    status_code, body = http.encode_error(error)
    assert http_client.decode_error("x", status_code, {}, body).detail == "no ?!"
    assert grpc.decode_error("x", grpc.encode_error(error)).detail == "no ?!"


@pytest.mark.parametrize(
    ("status_code", "content_type", "body", "kind", "detail"),
    [
        (404, "text/plain", b"sandbox not found\n", errors.SandboxNotFoundError, "sandbox not found"),
        (502, "text/html", b"<html>Bad</html>", errors.UnavailableError, "HTTP 502 Bad Gateway"),
        (502, "", b"  <!doctype html>", errors.UnavailableError, "HTTP 502 Bad Gateway"),
        (503, "", b"", errors.UnavailableError, "HTTP 503 Service Unavailable"),
        (499, "", b"", errors.CancelledByServerError, "HTTP 499"),
        (599, "", b"", errors.InternalServerError, "HTTP 599"),
        (400, "", b'{"error": "bad"}', errors.InvalidArgumentError, "bad"),
        (400, "", b'{"detail": 5}', errors.InvalidArgumentError, '{"detail": 5}'),
        (500, "", b"\xff\xfe", errors.InternalServerError, "\ufffd\ufffd"),
        (302, "", b"", errors.ProtocolError, "unexpected HTTP status 302: HTTP 302 Found"),
        (600, "", b"", errors.ProtocolError, "unexpected HTTP status 600: HTTP 600"),
    ],
)
def test_foreign_http_error_maps_by_its_status(
    status_code: int, content_type: str, body: bytes, kind: type[errors.SandboxError], detail: str
) -> None:
    error = http_client.decode_error("get_status", status_code, {"content-type": content_type}, body)
    assert (type(error), error.detail) == (kind, detail)


@pytest.mark.parametrize("status_code", [400, 401, 403, 404, 429, 499, 500, 502, 503, 504, 599])
def test_foreign_http_status_on_a_grpc_call_is_the_same_error_as_over_http(status_code: int) -> None:
    exc = GRPCError(Status.UNKNOWN, f"Received :status = '{status_code}'")
    over_grpc = grpc.decode_error("get_status", exc)
    over_http = http_client.decode_error("get_status", status_code, {}, b"")
    assert type(over_grpc) is type(over_http)
    assert {**over_grpc.fields(), "transport": None} == {**over_http.fields(), "transport": None}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("-1", None), ("nan", None), ("inf", None), ("soon", None), ("", None)],
)
def test_retry_after_is_read_alike_from_both_transports(value: str, seconds: float | None) -> None:
    assert http_client.decode_error("x", 503, {"retry-after": value}, b"").retry_after == seconds
    exc = GRPCError(Status.UNAVAILABLE, "later")
    assert grpc.decode_error("x", exc, {"retry-after": value}).retry_after == seconds


@pytest.mark.parametrize(("seconds_ahead", "least", "most"), [(-1e6, 0, 0), (1000, 900, 1000)])
def test_retry_after_may_be_a_date_on_both_transports(seconds_ahead: float, least: int, most: int) -> None:
    headers = {"retry-after": formatdate(time.time() + seconds_ahead, usegmt=True)}
    exc = GRPCError(Status.UNAVAILABLE, "later")
    for error in (http_client.decode_error("x", 503, headers, b""), grpc.decode_error("x", exc, headers)):
        assert error.retry_after is not None
        assert least <= error.retry_after <= most


def test_answer_that_is_not_grpc_is_a_protocol_error() -> None:
    exc = GRPCError(Status.UNKNOWN, "Invalid content-type: 'text/html'")
    assert isinstance(grpc.decode_error("get_status", exc), errors.ProtocolError)


def test_grpc_message_is_the_detail_where_there_are_no_details() -> None:
    error = grpc.decode_error("get_status", GRPCError(Status.NOT_FOUND, "no such sandbox"))
    assert (type(error), error.detail) == (errors.SandboxNotFoundError, "no such sandbox")


def test_grpc_request_without_values_is_not_given() -> None:
    assert grpc.decode_request(START_SANDBOX, messages.StartRequest()) == StartRequest()


def test_wire_form_is_that_of_betterproto() -> None:
    message = messages.ExecResponse(stdout="h\u00e9", exit_code=-7, stdout_dropped=2**64 - 1)
    assert dump_message(message) == bytes(message)
    metrics = grpc.encode_result(GET_METRICS, MetricsResult(1, 2**64 - 1, 0.5, 200.25, 300))
    assert dump_message(metrics) == bytes(metrics)
    start = messages.StartRequest(type="t", command=["", "a"], memory_mb=300, cpu_cores=0.25)
    assert dump_message(start) == bytes(start)
    infos = [messages.SnapshotInfo(image="i", size_bytes=300, created_at=0.5), messages.SnapshotInfo()]
    snapshots = messages.ListSnapshotsResponse(snapshots=infos)
    assert dump_message(snapshots) == bytes(snapshots)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x0a\x0bhell", "cut short"),
        (b"\x0a", "cut short"),
        (b"\x80", "cut short"),
        (b"\x08\x01", "wire type 0 instead of 2"),
        (b"\x1a\x01a", "wire type 2 instead of 0"),
        (b"\x18" + b"\xff" * 10 + b"\x01", "more than"),
        (b"\x18\x80\x80\x80\x80\x08", "is not -2147483648 to"),
        (b"\x0b", "wire type 3"),
        (b"\x02\x00", "field number 0"),
        (b"\x0a\x01\xff", "utf-8"),
        (b"\xa1\x06\x00", "cut short"),
    ],
)
def test_malformed_message_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(MalformedMessageError, match=words):
        load_message(messages.ExecResponse, data)


def test_unknown_fields_of_a_message_are_ignored() -> None:
    unknown = b"\xd0\x0f\x05" + b"\xd9\x0f" + struct.pack("<d", 1.0) + b"\xda\x0f\x01a" + b"\xdd\x0f1234"
    assert load_message(messages.StopResponse, unknown) == messages.StopResponse()


@pytest.mark.parametrize(
    ("data", "words"), [(b"\x0a\x05", "cut short"), (b"\x0a\x03\x0a\x05a", "snapshots: cut short")]
)
def test_malformed_item_of_a_message_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(MalformedMessageError, match=words):
        load_message(messages.ListSnapshotsResponse, data)


@pytest.mark.parametrize("item", ["1", "[]", "null", '""', '{"size_bytes": "1"}', '{"created_at": true}'])
def test_http_answer_whose_items_do_not_fit_is_a_protocol_error(item: str) -> None:
    with pytest.raises(errors.ProtocolError):
        decode_result(LIST_SNAPSHOTS, f'{{"snapshots": [{{}}, {item}]}}'.encode())


def test_http_query_carries_any_path() -> None:
    call = encode_request(REMOVE_SNAPSHOT, RemoveSnapshotRequest("/a b/\u20ac?&=#%"))
    assert (call.method, call.content) == ("DELETE", b"")
    # httpx 0.27 writes a space as %20, later versions as +.
    assert (
        call.url.raw_path.replace(b"%20", b"+")
        == b"/snapshots?snapshot_path=%2Fa+b%2F%E2%82%AC%3F%26%3D%23%25"
    )


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_integer_that_its_field_cannot_hold_is_refused_rather_than_wrapped(value: int) -> None:
    with pytest.raises(MalformedMessageError):
        dump_message(messages.ExecResponse(exit_code=value))


def test_server_answers_a_malformed_message_as_invalid_argument() -> None:
    with pytest.raises(GRPCError) as caught:
        grpc.SERVER_CODEC.decode(b"\x0a", messages.StatusRequest)
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert grpc.decode_error("x", caught.value).reason == "invalid_argument"


def test_server_answers_a_message_beyond_the_limit_as_too_large() -> None:
    with pytest.raises(GRPCError) as caught:
        grpc.SERVER_CODEC.decode(bytes(MAX_REQUEST_BYTES + 1), messages.StatusRequest)
    assert grpc.decode_error("x", caught.value).reason == "too_large"


def test_client_refuses_a_malformed_message_as_protocol_error() -> None:
    with pytest.raises(errors.ProtocolError):
        grpc.CLIENT_CODEC.decode(b"\x0a", messages.StatusResponse)


@pytest.mark.parametrize("data", [b"", b"\x08\x05\x12\x03abc", b"\xff", b"\x0a\x7f"])
def test_status_details_of_somebody_else_are_not_ours(data: bytes) -> None:
    details = grpc.ErrorDetailsCodec().decode(Status.NOT_FOUND, "gone", data)
    error = grpc.decode_error("x", GRPCError(Status.NOT_FOUND, "gone", details))
    assert (error.reason, error.detail) == ("not_found", "gone")


def test_status_details_carry_the_error() -> None:
    sent = grpc.encode_error(errors.AtCapacityError("full", request_id="r"))
    codec = grpc.ErrorDetailsCodec()
    details = codec.decode(sent.status, sent.message, codec.encode(sent.status, sent.message, sent.details))
    assert details == messages.Error(detail="full", reason="at_capacity", request_id="r", retryable=True)


def test_generated_error_has_the_same_fields_on_both_transports() -> None:
    error = errors.AtCapacityError("full", request_id="r")
    fields = schemas.Error.from_dict(json.loads(http.encode_error(error)[1])).to_dict()
    details = grpc.encode_error(error).details
    assert fields == {name: getattr(details, name) for name in fields}


def test_status_request_has_no_body() -> None:
    request = encode_request(GET_STATUS, StatusRequest("a"))
    assert (request.content, "content-type" in request.headers) == (b"", False)
