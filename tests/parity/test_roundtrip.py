"""Every model comes out of either transport as it went in, and arbitrary answers raise only our errors."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote

import pytest
from command_strategies import STRATEGIES as COMMAND_STRATEGIES
from file_strategies import STRATEGIES as FILE_STRATEGIES
from flash_sandbox_http.routes import ROUTES
from http_codec import decode_result, encode_request
from hypothesis import example, given
from hypothesis import strategies as st
from listing_strategies import STRATEGIES as LISTING_STRATEGIES
from listing_strategies import policies
from values import arguments, commands, doubles, ids, path_characters, texts, uint64, variables

from flash_sandbox import models
from flash_sandbox.codecs import grpc, http, http_client
from flash_sandbox.codecs.http_client import codec_of
from flash_sandbox.codecs.wire import dump_message, load_message
from flash_sandbox.errors import InvalidArgumentError, SandboxError
from flash_sandbox.operations import (
    EXEC_COMMAND,
    GET_METRICS,
    GET_STATUS,
    LIST_SNAPSHOTS,
    OPERATIONS,
    SNAPSHOT_SANDBOX,
    START_SANDBOX,
    Operation,
)

Model = TypeVar("Model")

BY_NAME = {operation.name: operation for operation in OPERATIONS}

SNAPSHOTS = st.builds(
    models.SnapshotInfo,
    texts,
    texts,
    texts,
    uint64,
    doubles,
    texts,
    texts,
    st.lists(texts, max_size=4).map(tuple),
)

STRATEGIES: dict[type[Any], st.SearchStrategy[Any]] = {
    **COMMAND_STRATEGIES,
    **FILE_STRATEGIES,
    **LISTING_STRATEGIES,
    models.StartRequest: st.builds(
        lambda what, reach, **fields: models.StartRequest(**what, **reach, **fields),
        st.fixed_dictionaries({"command": st.just(()) | commands})
        | st.fixed_dictionaries({"image_command": st.booleans()}),
        policies | st.fixed_dictionaries({"network": st.sampled_from(["", "none", "bridge", "open"])}),
        **dict.fromkeys(
            ("type", "image", "kernel_image", "initrd_path", "snapshot_path", "mem_file_path", "user"),
            arguments,
        ),
        memory_mb=st.integers(0, models.MAX_MEMORY_MB),
        cpu_cores=st.floats(0, models.MAX_CPU_CORES),
        pids=st.just(0) | st.integers(models.MIN_PIDS, models.MAX_PIDS),
        shm_mb=st.integers(0, models.MAX_MEMORY_MB),
        disk_mb=st.integers(0, 2**31 - 1),
        env=variables,
        name=st.just("") | ids,
        labels=variables,
        ttl_seconds=st.floats(0, models.MAX_TTL_SECONDS),
        idle_timeout=st.floats(0, models.MAX_TTL_SECONDS),
        on_idle=st.sampled_from(["", "stop", "pause", "suspend"]),
        auto_resume=st.booleans(),
        volumes=st.dictionaries(ids, ids, max_size=3).map(
            lambda found: tuple(f"{source}:/mnt/{target}" for target, source in found.items())
        ),
        secrets=st.dictionaries(
            st.from_regex(r"[A-Z_][A-Z0-9_]{0,9}", fullmatch=True),
            st.from_regex(r"[!-~]([ -~]*[!-~])?", fullmatch=True),
            max_size=3,
        ).map(lambda found: tuple(f"{name}@a.test,*.b.test:443={value}" for name, value in found.items())),
    ),
    models.StopRequest: st.builds(models.StopRequest, ids, st.booleans()),
    models.ForkRequest: st.builds(models.ForkRequest, ids, st.integers(1, models.MAX_FORKS)),
    models.ForkResult: st.builds(models.ForkResult, st.lists(texts).map(tuple)),
    models.StartResult: st.builds(models.StartResult, ids),
    models.StatusResult: st.builds(models.StatusResult, texts, texts),
    models.MetricsResult: st.builds(
        models.MetricsResult, uint64, uint64, doubles, doubles, uint64, uint64, uint64, uint64, uint64
    ),
    models.SnapshotRequest: st.builds(models.SnapshotRequest, ids, st.just("") | ids, variables),
    models.ListSnapshotsRequest: st.builds(models.ListSnapshotsRequest, variables),
    models.SnapshotInfo: SNAPSHOTS,
    models.ExportSnapshotRequest: st.builds(
        models.ExportSnapshotRequest, st.text(path_characters, min_size=1, max_size=1000)
    ),
    models.ExportSnapshotChunk: st.builds(models.ExportSnapshotChunk, st.binary(max_size=100)),
    models.ImportSnapshotRequest: st.builds(models.ImportSnapshotRequest, st.just("") | ids),
    models.SnapshotResult: st.builds(
        models.SnapshotResult, texts, texts, texts, texts, st.lists(texts, max_size=4).map(tuple), uint64
    ),
    models.ListSnapshotsResult: st.builds(
        models.ListSnapshotsResult,
        st.lists(SNAPSHOTS).map(tuple),
    ),
    models.RemoveSnapshotRequest: st.builds(
        models.RemoveSnapshotRequest, st.text(path_characters, min_size=1, max_size=1000)
    ),
    **{
        kind: st.builds(kind)
        for kind in (
            models.StopResult,
            models.PauseResult,
            models.ResumeResult,
            models.RemoveSnapshotResult,
        )
    },
    **{
        kind: st.builds(kind, ids)
        for kind in (
            models.StatusRequest,
            models.MetricsRequest,
            models.PauseRequest,
            models.ResumeRequest,
        )
    },
}


def request_over_http(operation: Operation[Model, Any], request: Model) -> Model:
    call = encode_request(operation, request)
    path, _, query = call.url.raw_path.decode().removeprefix("/").partition("?")
    template = re.escape(ROUTES[operation.name].path.lstrip("/")).replace(r"\{", "{").replace(r"\}", "}")
    found = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template), path)
    assert found is not None
    given = {name: unquote(value) for name, value in found.groupdict().items()}
    return http.decode_request(operation, given, parse_qs(query, keep_blank_values=True), call.content)


def request_over_grpc(operation: Operation[Model, Any], request: Model) -> Model:
    data = dump_message(grpc.encode_request(operation, request))
    return grpc.decode_request(operation, load_message(grpc.message_classes(operation)[0], data))


def result_over_http(operation: Operation[Any, Model], result: Model) -> Model:
    if operation.streams == "response":
        return codec_of(operation).frame(http.encode_frame(operation, result))
    if operation.streams == "bytes":
        # HTTP carries the bytes alone.
        return operation.result(data=result.data)  # type: ignore[call-arg, attr-defined]
    return decode_result(operation, http.encode_result(operation, result) or b"")


def result_over_grpc(operation: Operation[Any, Model], result: Model) -> Model:
    data = dump_message(grpc.encode_result(operation, result))
    return grpc.decode_result(operation, load_message(grpc.message_classes(operation)[1], data))


def test_every_model_has_a_strategy() -> None:
    assert set(STRATEGIES) == {kind for row in OPERATIONS for kind in (row.request, row.result)}


@pytest.mark.parametrize("name", BY_NAME)
@given(data=st.data())
def test_request_is_the_same_after_either_transport(name: str, data: st.DataObject) -> None:
    operation = BY_NAME[name]
    request = data.draw(STRATEGIES[operation.request])
    assert request_over_http(operation, request) == request
    assert request_over_grpc(operation, request) == request


@pytest.mark.parametrize("name", BY_NAME)
@given(data=st.data())
def test_result_is_the_same_after_either_transport(name: str, data: st.DataObject) -> None:
    operation = BY_NAME[name]
    result = data.draw(STRATEGIES[operation.result])
    assert result_over_http(operation, result) == result
    assert result_over_grpc(operation, result) == result


@given(STRATEGIES[models.MetricsResult])
@example(models.MetricsResult(cpu_percent=-0.0))
@example(models.MetricsResult(memory_percent=5e-324, cpu_percent=1.7976931348623157e308))
@example(models.MetricsResult(memory_usage_bytes=2**64 - 1, pids_current=2**53 + 1))
@example(models.MetricsResult(cpu_percent=1))
def test_metrics_keep_every_bit(metrics: models.MetricsResult) -> None:
    for other in (result_over_http(GET_METRICS, metrics), result_over_grpc(GET_METRICS, metrics)):
        for field in dataclasses.fields(metrics):
            mine, theirs = getattr(metrics, field.name), getattr(other, field.name)
            assert mine == theirs
            assert math.copysign(1, mine) == math.copysign(1, theirs)


@given(STRATEGIES[models.ExecResult])
@example(models.ExecResult(exit_code=-(2**31)))
@example(models.ExecResult(exit_code=2**31 - 1, stdout_dropped=2**64 - 1))
@example(models.ExecResult(stdout="\0\r\n\u2028\ufffd\U0010ffff", stderr=""))
@example(models.ExecResult(stdout="a" * 1_000_000))
def test_output_keeps_every_character(result: models.ExecResult) -> None:
    assert result_over_http(EXEC_COMMAND, result) == result_over_grpc(EXEC_COMMAND, result) == result


@pytest.mark.parametrize(
    "body",
    [b'{"snapshots": [{"size_bytes": 3, "newer": []}, {"image": null}]}', b'{"snapshots": null}', b"{}"],
)
def test_missing_fields_of_an_item_read_as_defaults(body: bytes) -> None:
    items = json.loads(body).get("snapshots") or []
    expected = tuple(models.SnapshotInfo(size_bytes=item.get("size_bytes", 0)) for item in items)
    assert decode_result(LIST_SNAPSHOTS, body).snapshots == expected


@given(commands)
@example(("a", "", ""))
@example(("/bin/sh", "-c", 'echo "\u20ac" \\ \n'))
def test_command_keeps_every_argument(command: tuple[str, ...]) -> None:
    request = models.ExecRequest("a", command)
    assert request_over_http(EXEC_COMMAND, request) == request_over_grpc(EXEC_COMMAND, request) == request


@pytest.mark.parametrize(
    "fields",
    [
        {"cpu_cores": math.nan},
        {"cpu_cores": math.inf},
        {"memory_mb": 2**31},
        {"memory_mb": 2**63},
        {"memory_mb": 2**64 + 512},
        {"memory_mb": -1},
        {"image": "\ud800"},
        {"command": ("a", "\udfff")},
    ],
)
def test_value_that_one_transport_could_not_carry_is_refused_before_either(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        models.StartRequest(**fields)


@given(st.sampled_from(["id", "status"]), st.sampled_from(["HIBERNATED", "", "\u20ac"]))
def test_state_of_a_newer_orchestrator_is_kept(field: str, value: str) -> None:
    result = dataclasses.replace(models.StatusResult("a", "running"), **{field: value})
    assert result_over_http(GET_STATUS, result) == result_over_grpc(GET_STATUS, result) == result


def test_missing_fields_of_an_answer_read_alike() -> None:
    empty = load_message(grpc.message_classes(SNAPSHOT_SANDBOX)[1], b"")
    over_grpc = grpc.decode_result(SNAPSHOT_SANDBOX, empty)
    assert decode_result(SNAPSHOT_SANDBOX, b"{}") == over_grpc == models.SnapshotResult()


def test_absent_and_empty_fields_of_a_request_read_alike() -> None:
    empty = load_message(grpc.message_classes(START_SANDBOX)[0], b"")
    over_grpc = grpc.decode_request(START_SANDBOX, empty)
    over_http = http.decode_request(START_SANDBOX, {}, {}, b'{"command": [], "memory_mb": 0, "image": ""}')
    assert over_http == over_grpc == models.StartRequest()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    # Generating more of it takes longer than everything else here.
    max_leaves=8,
)
field_names = st.sampled_from(
    sorted({name for row in OPERATIONS for name in row.result.__dataclass_fields__})
)


documents = st.dictionaries(st.text(), json_values).map(json.dumps).map(str.encode)


@pytest.mark.parametrize("name", [name for name, row in BY_NAME.items() if row.streams != "bytes"])
@given(body=st.binary() | st.dictionaries(field_names, json_values).map(json.dumps).map(str.encode))
@example(body=b'{"id": {}, "status": [], "exit_code": null}')
@example(body=b'{"id": "\\ud800"}')
@example(body=b'{"stdout": ')
@example(body=b'{"snapshots": [[], 1, "", null]}')
@example(body=b'{"snapshots": {"a": {}}}')
@example(body=b'{"snapshots": [{"size_bytes": -1}]}')
@example(body=b'{"snapshots": [{"created_at": "now"}]}')
@example(body=b"<html>502</html>")
def test_any_body_is_a_result_or_one_of_our_errors(name: str, body: bytes) -> None:
    operation = BY_NAME[name]
    try:
        streams = operation.streams == "response"
        result = codec_of(operation).frame(body) if streams else decode_result(operation, body)
    except SandboxError:
        return
    assert isinstance(result, operation.result)


@given(
    st.integers(100, 999),
    st.binary() | st.dictionaries(st.text(), json_values).map(json.dumps).map(str.encode),
)
@example(599, b"")
@example(404, b'{"detail": {"a": 1}, "reason": 5, "retryable": "x", "request_id": []}')
def test_any_error_answer_is_one_of_our_errors(status_code: int, body: bytes) -> None:
    assert isinstance(http_client.decode_error("get_status", status_code, {}, body), SandboxError)


@pytest.mark.parametrize("name", BY_NAME)
@given(data=st.binary())
@example(data=b"\x0a\x0bhell")
@example(data=b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(data=b"\x19" + b"\xff" * 8)
@example(data=b"\x0a\x03\x0a\x02a")
@example(data=b"\x0a\x09\x29" + b"\xff" * 8)
def test_any_message_is_a_result_or_one_of_our_errors(name: str, data: bytes) -> None:
    operation = BY_NAME[name]
    try:
        message = grpc.CLIENT_CODEC.decode(data, grpc.message_classes(operation)[1])
        result = grpc.decode_result(operation, message)
    except SandboxError:
        return
    assert isinstance(result, operation.result)
