"""The Quick Start over gRPC: ``python quickstart_grpc.py [ADDRESS]``."""

import os
import sys

from flash_sandbox import SandboxClient


def main(address: str) -> None:
    client = SandboxClient(address=address)

    # Start a sandbox
    sandbox_id = client.start_sandbox(
        type="bubblewrap",
        image="host",
        command=["tail", "-f", "/dev/null"],
        memory_mb=128,
        cpu_cores=0.5,
    )
    print(f"Sandbox ID: {sandbox_id}")

    # Execute a command
    result = client.exec_command(sandbox_id, ["echo", "Hello from gRPC!"])
    print(f"Output: {result.stdout.strip()}")
    print(f"Exit code: {result.exit_code}")

    # Check status
    status = client.get_status(sandbox_id)
    print(f"Status: {status}")

    # Get resource metrics
    metrics = client.get_metrics(sandbox_id)
    print(f"Memory: {metrics.memory_usage_bytes} / {metrics.memory_limit_bytes}")
    print(f"CPU: {metrics.cpu_percent:.1f}%")

    # Snapshot and resume
    snap = client.snapshot_sandbox(sandbox_id)
    print(f"Snapshot: {snap['snapshot_path']}")
    client.resume_sandbox(sandbox_id)
    print(f"Resumed: {client.get_status(sandbox_id)}")

    # Stop
    client.stop_sandbox(sandbox_id)
    print("Stopped")
    client.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("FLASH_SANDBOX_GRPC", "localhost:50051"))
