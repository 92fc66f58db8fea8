"""Asks for a sandbox's status, one call after the other: ``sync_calls.py WHO ADDRESS SANDBOX``.

Reads how many calls, one number a line, and answers with the seconds that each of them took, as JSON. It runs
in the interpreter that has what it measures, and imports nothing else.
"""

from __future__ import annotations

import asyncio
import atexit
import http.client
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

Call = Callable[[], str]


def over_http(address: str, sandbox_id: str) -> Call:
    """The HTTPClient of the flash_sandbox that is installed, whichever release that is."""
    import flash_sandbox

    client: Any = flash_sandbox.HTTPClient(address=address)
    return lambda: str(client.get_status(sandbox_id))


def over_grpc(address: str, sandbox_id: str) -> Call:
    """The SandboxClient of the flash_sandbox that is installed."""
    import flash_sandbox

    client: Any = flash_sandbox.SandboxClient(address=address)
    return lambda: str(client.get_status(sandbox_id))


def raw_httpx(address: str, sandbox_id: str) -> Call:
    """A bare httpx.Client."""
    import httpx

    client = httpx.Client(base_url=address)
    return lambda: str(client.get(f"/sandboxes/{sandbox_id}").raise_for_status().json()["status"])


def raw_http_client(address: str, sandbox_id: str) -> Call:
    """Python's own HTTP client."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port)

    def call() -> str:
        connection.request("GET", f"/sandboxes/{sandbox_id}", headers={"accept": "application/json"})
        return str(json.loads(connection.getresponse().read())["status"])

    return call


def raw_grpcio(address: str, sandbox_id: str) -> Call:
    """The stub that the published release has from grpcio-tools, on a bare channel."""
    grpc: Any = importlib.import_module("grpc")
    messages: Any = importlib.import_module("flash_sandbox.proto.sandbox_pb2")
    generated: Any = importlib.import_module("flash_sandbox.proto.sandbox_pb2_grpc")
    stub = generated.SandboxServiceStub(grpc.insecure_channel(address))
    return lambda: str(stub.GetStatus(messages.StatusRequest(id=sandbox_id)).status)


def raw_grpclib(address: str, sandbox_id: str) -> Call:
    """The generated stub on a bare grpclib channel, its loop run by this thread for each call."""
    import flash_sandbox_grpc
    import grpclib.client
    import uvloop

    host, _, port = address.rpartition(":")
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    channel = grpclib.client.Channel(host, int(port))
    atexit.register(channel.close)
    stub = flash_sandbox_grpc.SandboxServiceStub(channel)
    request = flash_sandbox_grpc.StatusRequest
    return lambda: loop.run_until_complete(stub.get_status(request(id=sandbox_id))).status


def bytes_over_grpcio(address: str, sandbox_id: str) -> Call:
    """grpcio with what goes over the wire ready beforehand: as little of a client as there can be."""
    grpc: Any = importlib.import_module("grpc")
    channel = grpc.insecure_channel(address)
    call = channel.unary_unary("/sandbox.SandboxService/GetStatus")
    request = b"\x0a" + bytes([len(sandbox_id)]) + sandbox_id.encode()
    # The status is the last field of the answer.
    return lambda: str(call(request).rpartition(b"\x07")[2].decode())


CALLS = {call.__name__: call for call in (over_http, over_grpc, raw_httpx, raw_http_client)} | {
    call.__name__: call for call in (raw_grpcio, raw_grpclib, bytes_over_grpcio)
}


def main() -> None:
    who, address, sandbox_id = sys.argv[1:]
    call = CALLS[who](address, sandbox_id)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            began = time.perf_counter()
            status = call()
            seconds.append(time.perf_counter() - began)
            assert status == "running", status
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
