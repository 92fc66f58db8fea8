"""An orchestrator as flash-sandbox 0.1.0 knew it, on grpcio's and Python's own HTTP server.

It has the messages, paths and answers of that release and nothing that came later: every success is 200,
every error is plain text over HTTP, and a gRPC status without details. It runs nothing; `calls` says what it
was asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields

_TYPES: Final = {"string": 9, "int64": 3, "int32": 5, "uint64": 4, "double": 1}

# As 0.1.0 has them; fields are numbered from 1, "*" is repeated.
_MESSAGES: Final = {
    "StartRequest": "type:string image:string command:string* memory_mb:int64 cpu_cores:double",
    "StartResponse": "id:string",
    "StopRequest": "id:string",
    "StopResponse": "",
    "ExecRequest": "id:string command:string*",
    "ExecResponse": "stdout:string stderr:string exit_code:int32",
    "StatusRequest": "id:string",
    "StatusResponse": "id:string status:string",
    "MetricsRequest": "id:string",
    "MetricsResponse": "memory_usage_bytes:uint64 memory_limit_bytes:uint64 memory_percent:double "
    "cpu_percent:double pids_current:uint64 net_rx_bytes:uint64 net_tx_bytes:uint64 "
    "block_read_bytes:uint64 block_write_bytes:uint64",
    "SnapshotRequest": "id:string",
    "SnapshotResponse": "snapshot_path:string mem_file_path:string",
    "ResumeRequest": "id:string",
    "ResumeResponse": "",
}

# gRPC method, its messages' name, and HTTP method and path.
_METHODS: Final = (
    ("StartSandbox", "Start", "POST", "sandboxes"),
    ("StopSandbox", "Stop", "DELETE", "sandboxes/{id}"),
    ("ExecCommand", "Exec", "POST", "sandboxes/{id}/exec"),
    ("GetStatus", "Status", "GET", "sandboxes/{id}"),
    ("GetMetrics", "Metrics", "GET", "sandboxes/{id}/metrics"),
    ("SnapshotSandbox", "Snapshot", "POST", "sandboxes/{id}/snapshot"),
    ("ResumeSandbox", "Resume", "POST", "sandboxes/{id}/resume"),
)

METRICS: Final = {
    "memory_usage_bytes": 2**40 + 1,
    "memory_limit_bytes": 2**41,
    "memory_percent": 50.5,
    "cpu_percent": 12.25,
    "pids_current": 3,
    "net_rx_bytes": 4,
    "net_tx_bytes": 5,
    "block_read_bytes": 6,
    "block_write_bytes": 2**63,
}

_HTTP_STATUS: Final = {grpc.StatusCode.NOT_FOUND: 404, grpc.StatusCode.UNKNOWN: 500}


@dataclass(frozen=True)
class Asked:
    """A call as it came in.

    Attributes:
        method: Name of the gRPC method, also where it came over HTTP.
        fields: What was given, by name; the ID of an HTTP path included.
        unknown: How many fields 0.1.0 has no name for; always 0 over HTTP, where they are in `fields`.
    """

    method: str
    fields: dict[str, Any]
    unknown: int = 0


class Refused(Exception):
    """What the orchestrator answers in place of a result."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass
class OlderOrchestrator:
    """The state of the orchestrator and where it listens."""

    http_address: str = ""
    grpc_address: str = ""
    calls: list[Asked] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)

    def perform(self, asked: Asked) -> dict[str, Any]:
        """Answer a call with the fields of its response, or raise `Refused`."""
        self.calls.append(asked)
        if asked.method == "StartSandbox":
            if asked.fields.get("image") == "broken":
                raise Refused(grpc.StatusCode.UNKNOWN, "failed to create sandbox: no such image")
            sandbox_id = f"sandbox-{len(self.calls)}"
            self.states[sandbox_id] = "running"
            return {"id": sandbox_id}
        sandbox_id = asked.fields["id"]
        if sandbox_id not in self.states:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"sandbox {sandbox_id} not found")
        match asked.method:
            case "ExecCommand":
                return {"stdout": " ".join(asked.fields["command"]), "stderr": "\u20ac", "exit_code": -1}
            case "GetStatus":
                return {"id": sandbox_id, "status": self.states[sandbox_id]}
            case "GetMetrics":
                return METRICS
            case "SnapshotSandbox":
                self.states[sandbox_id] = "paused"
                return {"snapshot_path": "/snapshots/1", "mem_file_path": "/snapshots/1.mem"}
            case "ResumeSandbox":
                self.states[sandbox_id] = "running"
            case "StopSandbox":
                del self.states[sandbox_id]
        return {}


@contextmanager
def running() -> Iterator[OlderOrchestrator]:
    """Run an orchestrator of 0.1.0, both front doors on free ports of the loopback interface."""
    orchestrator = OlderOrchestrator()
    grpc_server = grpc.server(ThreadPoolExecutor(4))
    grpc_server.add_generic_rpc_handlers((_grpc_handlers(orchestrator),))
    orchestrator.grpc_address = f"127.0.0.1:{grpc_server.add_insecure_port('127.0.0.1:0')}"
    grpc_server.start()
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), _http_handler(orchestrator))
    orchestrator.http_address = f"http://127.0.0.1:{http_server.server_port}"
    thread = Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield orchestrator
    finally:
        http_server.shutdown()
        thread.join()
        http_server.server_close()
        grpc_server.stop(None).wait()


def _message_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="published.proto", package="sandbox", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field_name, kind) in enumerate((each.split(":") for each in fields.split()), 1):
            message.field.add(
                name=field_name,
                number=number,
                type=_TYPES[kind.rstrip("*")],
                label=3 if kind.endswith("*") else 1,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"sandbox.{name}"))
        for name in _MESSAGES
    }


def _grpc_handlers(orchestrator: OlderOrchestrator) -> grpc.GenericRpcHandler:
    classes = _message_classes()

    def handler(method: str, name: str) -> grpc.RpcMethodHandler:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            fields = {
                each.name: list(value) if each.is_repeated else value for each, value in request.ListFields()
            }
            unknown = len(unknown_fields.UnknownFieldSet(request))
            try:
                return classes[f"{name}Response"](**orchestrator.perform(Asked(method, fields, unknown)))
            except Refused as refused:
                context.abort(refused.code, refused.text)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=classes[f"{name}Request"].FromString,
            response_serializer=classes[f"{name}Response"].SerializeToString,
        )

    handlers = {method: handler(method, name) for method, name, *_ in _METHODS}
    return grpc.method_handlers_generic_handler("sandbox.SandboxService", handlers)


def _http_handler(orchestrator: OlderOrchestrator) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            found = _route(self.command, self.path)
            if found is None:
                self.reply(404, "text/plain; charset=utf-8", "404 page not found\n")
                return
            method, fields = found
            try:
                result = orchestrator.perform(Asked(method, fields | (json.loads(body) if body else {})))
            except Refused as refused:
                self.reply(_HTTP_STATUS[refused.code], "text/plain; charset=utf-8", refused.text + "\n")
                return
            self.reply(200, "application/json", json.dumps(result) if result else "")

        do_GET = do_POST = do_DELETE = answer

        def reply(self, status: int, content_type: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _route(verb: str, path: str) -> tuple[str, dict[str, Any]] | None:
    for method, _, its_verb, template in _METHODS:
        found = re.fullmatch("/" + template.replace("{id}", "(?P<id>[^/]+)"), path)
        if found and verb == its_verb:
            return method, found.groupdict()
    return None
