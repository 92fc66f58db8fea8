"""The frozen facts: what published clients and orchestrators already speak, and may rely on for ever.

The tables are those of the published packages 0.1.0 and later. What is in `FIELDS`, `METHODS` and
`ROUTES` must be in the specs, exactly so. What is in the `LATER` tables may be left out, but its
field numbers, names and paths may not be used for anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .vocabulary import Field, Message, Operation, Vocabulary

__all__ = ["violations"]

SERVICE: Final = "sandbox.SandboxService"

OWN_FIELDS_FROM: Final = 100
"""Own fields of a published message start here, so that a later published one never collides."""

FIELDS: Final = {
    "StartRequest": (
        "1 type string, 2 image string, 3 command repeated string, 4 memory_mb int64, 5 cpu_cores double, "
        "6 kernel_image string, 7 initrd_path string, 8 snapshot_path string, 9 mem_file_path string"
    ),
    "StartResponse": "1 id string",
    "StopRequest": "1 id string",
    "StopResponse": "",
    "ExecRequest": "1 id string, 2 command repeated string",
    "ExecResponse": "1 stdout string, 2 stderr string, 3 exit_code int32",
    "StatusRequest": "1 id string",
    "StatusResponse": "1 id string, 2 status string",
    "MetricsRequest": "1 id string",
    "MetricsResponse": (
        "1 memory_usage_bytes uint64, 2 memory_limit_bytes uint64, 3 memory_percent double, "
        "4 cpu_percent double, 5 pids_current uint64, 6 net_rx_bytes uint64, 7 net_tx_bytes uint64, "
        "8 block_read_bytes uint64, 9 block_write_bytes uint64"
    ),
    "SnapshotRequest": "1 id string",
    "SnapshotResponse": "1 snapshot_path string, 2 mem_file_path string",
    "ResumeRequest": "1 id string",
    "ResumeResponse": "",
}
"""Number, name and type of every field of every message."""

LATER_FIELDS: Final = {
    "StartRequest": "10 template string, 11 snapshot_mode string, 12 gpu GPUConfig",
    "StopRequest": "2 skip_cleanup bool",
    "ExecRequest": "3 non_interactive bool",
    "GPUConfig": "1 device_ids repeated string, 2 driver string, 3 memory_limit int64",
    "RunPythonRequest": "1 id string, 2 code string",
    "RunPythonResponse": "1 result string",
    "GetPlatformInfoRequest": "1 id string",
    "GetPlatformInfoResponse": "1 info string",
    "ReadFileRequest": "1 id string, 2 path string",
    "ReadFileResponse": "1 content bytes",
    "WriteFileRequest": "1 id string, 2 path string, 3 content bytes",
    "WriteFileResponse": "",
}
"""The same for what was published after 0.1.0 and is not implemented here (yet)."""

METHODS: Final = {
    "StartSandbox": "StartRequest -> StartResponse",
    "StopSandbox": "StopRequest -> StopResponse",
    "ExecCommand": "ExecRequest -> ExecResponse",
    "GetStatus": "StatusRequest -> StatusResponse",
    "GetMetrics": "MetricsRequest -> MetricsResponse",
    "SnapshotSandbox": "SnapshotRequest -> SnapshotResponse",
    "ResumeSandbox": "ResumeRequest -> ResumeResponse",
}
"""Request and response of every gRPC method, all of them unary."""

LATER_METHODS: Final = {
    "RunPython": "RunPythonRequest -> RunPythonResponse",
    "GetPlatformInfo": "GetPlatformInfoRequest -> GetPlatformInfoResponse",
    "ReadFile": "ReadFileRequest -> ReadFileResponse",
    "WriteFile": "WriteFileRequest -> WriteFileResponse",
}
"""The same for what was published after 0.1.0."""

ROUTES: Final = {
    "start_sandbox": "POST /sandboxes with StartRequest",
    "get_status": "GET /sandboxes/{id}",
    "stop_sandbox": "DELETE /sandboxes/{id}",
    "exec_command": "POST /sandboxes/{id}/exec with ExecRequest",
    "get_metrics": "GET /sandboxes/{id}/metrics",
    "snapshot_sandbox": "POST /sandboxes/{id}/snapshot",
    "resume_sandbox": "POST /sandboxes/{id}/resume",
}
"""Method, path and body of every HTTP call."""

LATER_ROUTES: Final = {
    "run_python": "POST /sandboxes/{id}/run_python with RunPythonRequest",
    "get_platform_info": "GET /sandboxes/{id}/platform_info",
    "read_file": "GET /sandboxes/{id}/files",
    "write_file": "PUT /sandboxes/{id}/files with WriteFileRequest",
}
"""The same for what was published after 0.1.0."""


def violations(http: Vocabulary, grpc: Vocabulary) -> list[str]:
    """Return every frozen fact that a spec breaks, by name and place. Empty where none is broken."""
    return [
        *_service(grpc),
        *(text for name in FIELDS | LATER_FIELDS for text in _numbered(grpc, name)),
        *(text for name in METHODS | LATER_METHODS for text in _method(grpc, name)),
        *(text for name in ROUTES | LATER_ROUTES for text in _route(http, name)),
    ]


def _service(grpc: Vocabulary) -> Iterator[str]:
    if grpc.name != SERVICE:
        yield f"frozen service {SERVICE}: is {grpc.name} at {grpc.place}"


def _facts(table: dict[str, str], message: str) -> dict[int, tuple[str, str]]:
    rows = (row.split(maxsplit=2) for row in table.get(message, "").split(", ") if row)
    return {int(number): (name, shape) for number, name, shape in rows}


def _numbered(grpc: Vocabulary, name: str) -> Iterator[str]:
    message = grpc.messages.get(name)
    if message is None:
        if name in FIELDS:
            yield f"frozen message {name}: missing in {grpc.place.file}"
        return
    present = {field.number: field for field in message.fields.values()}
    frozen, later = _facts(FIELDS, name), _facts(LATER_FIELDS, name)
    for number, (field, shape) in (frozen | later).items():
        what = f"frozen field {name}.{field} = {number} ({shape})"
        if number in present:
            yield from _same(what, present[number], field, shape)
        elif number in frozen:
            yield f"{what}: missing at {message.place}"
        elif number not in message.reserved:
            yield f"{what}: neither there nor reserved at {message.place}"
    yield from _own_numbers(message, {*frozen, *later})


def _own_numbers(message: Message, published: set[int]) -> Iterator[str]:
    for field in message.fields.values():
        if field.number < OWN_FIELDS_FROM and field.number not in published:
            yield (
                f"frozen message {message.name}: {field.name} has the number {field.number} "
                f"at {field.place}; own fields are numbered from {OWN_FIELDS_FROM}"
            )


def _same(what: str, actual: Field, name: str, shape: str) -> Iterator[str]:
    if (actual.name, actual.shape) != (name, shape):
        yield f"{what}: is {actual.name} ({actual.shape}) at {actual.place}"


def _method(grpc: Vocabulary, name: str) -> Iterator[str]:
    signature = (METHODS | LATER_METHODS)[name]
    found = [operation for operation in grpc.operations.values() if operation.rpc == name]
    if not found:
        if name in METHODS:
            yield f"frozen method {name}: missing in {grpc.place.file}"
        return
    (operation,) = found
    actual = f"{operation.request.name} -> {operation.response.name}"
    if operation.streams or actual != signature:
        kind = "streaming " if operation.streams else ""
        yield f"frozen method {name} ({signature}): is {kind}{actual} at {operation.place}"


def _route(http: Vocabulary, name: str) -> Iterator[str]:
    facts = (ROUTES | LATER_ROUTES)[name]
    operation = http.operations.get(name)
    if operation is None or operation.route is None:
        if name in ROUTES:
            yield f"frozen call {name} ({facts}): missing in {http.place.file}"
        return
    body = f" with {operation.request.name}" if operation.route.body else ""
    actual = f"{operation.route.method} {operation.route.path}{body}"
    if actual != facts:
        yield f"frozen call {name} ({facts}): is {actual} at {operation.place}"
    request, response = _signature(name)
    yield from _named(name, request, operation.request)
    yield from _named(name, response, operation.response)
    yield from _own_required(request, operation)


def _signature(operation: str) -> tuple[str, str]:
    rpc = operation.title().replace("_", "")
    request, _, response = (METHODS | LATER_METHODS)[rpc].partition(" -> ")
    return request, response


def _named(operation: str, name: str, message: Message) -> Iterator[str]:
    # HTTP has no numbers: what counts are names and types.
    for field, shape in _facts(FIELDS, name).values():
        what = f"frozen field {name}.{field} ({shape}) of {operation}"
        if field not in message.fields:
            yield f"{what}: missing at {message.place}"
        else:
            yield from _same(what, message.fields[field], field, shape)


def _own_required(name: str, operation: Operation) -> Iterator[str]:
    published = {field for field, _ in (_facts(FIELDS, name) | _facts(LATER_FIELDS, name)).values()}
    for field in operation.request.fields.values():
        if field.required and field.name not in published:
            yield (
                f"frozen call {operation.name}: requires {field.name} at {field.place}, "
                "which no published client sends"
            )
