"""The Quick Start of flash-sandbox 0.1.0 with that very release: ``TRANSPORT ADDRESS``; prints what it saw.

Its words are those of the release's own documentation, but for the runtime and the image.
"""

import importlib.metadata
import json
import sys
from typing import Any

from flash_sandbox import HTTPClient, SandboxClient, SandboxNotFoundError  # type: ignore[attr-defined,unused-ignore]


def over_http(address: str) -> dict[str, Any]:
    client = HTTPClient(address=address)
    sandbox_id = client.start_sandbox(
        type="bubblewrap",
        image="host",
        command=["tail", "-f", "/dev/null"],
        memory_mb=128,
        cpu_cores=0.5,
    )
    result = client.exec_command(sandbox_id, ["echo", "Hello from HTTP!"])
    seen: dict[str, Any] = {"output": result.stdout.strip(), "exit_code": result.exit_code}
    seen["status"] = client.get_status(sandbox_id)
    metrics = client.get_metrics(sandbox_id)
    seen["metrics"] = vars(metrics)
    snap = client.snapshot_sandbox(sandbox_id)
    seen["snapshot"] = snap
    seen["paused"] = client.get_status(sandbox_id)
    client.resume_sandbox(sandbox_id)
    seen["resumed"] = client.get_status(sandbox_id)
    copy_id = client.start_sandbox(type="bubblewrap", image="", snapshot_path=snap["snapshot_path"])
    seen["copy"] = client.get_status(copy_id)
    client.stop_sandbox(copy_id)
    client.stop_sandbox(sandbox_id)
    try:
        client.get_status(sandbox_id)
    except SandboxNotFoundError as error:
        seen["stopped"] = [error.status_code, error.detail]
    client.close()
    return seen


def over_grpc(address: str) -> dict[str, Any]:
    import grpc

    client = SandboxClient(address=address)
    sandbox_id = client.start_sandbox(
        type="bubblewrap",
        image="host",
        command=["tail", "-f", "/dev/null"],
        memory_mb=128,
        cpu_cores=0.5,
    )
    # The other two runtimes of the documentation, each with what it asks for.
    other_ids = [
        client.start_sandbox(
            type="bubblewrap",
            image="host",
            command=["tail", "-f", "/dev/null"],
            memory_mb=memory_mb,
            cpu_cores=1.0,
        )
        for memory_mb in (512, 256)
    ]
    seen: dict[str, Any] = {"status": client.get_status(other_ids[0])}
    seen["snapshot"] = client.snapshot_sandbox(other_ids[0])
    seen["paused"] = client.get_status(other_ids[0])
    client.resume_sandbox(other_ids[0])
    seen["resumed"] = client.get_status(other_ids[0])
    result = client.exec_command(other_ids[1], ["echo", "Hello from gRPC!"])
    seen["output"], seen["exit_code"] = result.stdout.strip(), result.exit_code
    for each in (sandbox_id, *other_ids):
        client.stop_sandbox(each)
    try:
        client.get_status(sandbox_id)
    except grpc.RpcError as error:
        seen["stopped"] = [error.code().name, error.details()]
    client.close()
    return seen


if __name__ == "__main__":
    transport, address = sys.argv[1:]
    found = over_http(address) if transport == "http" else over_grpc(address)
    print(json.dumps(found | {"version": importlib.metadata.version("flash-sandbox")}))
