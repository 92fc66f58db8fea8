"""The Quick Start: ``python quickstart.py [ADDRESS]``, over HTTP or, at ``grpc://HOST:PORT``, over gRPC."""

import sys

import flash_sandbox
from flash_sandbox import Sandbox


def main(address: str | None) -> None:
    with flash_sandbox.connect(address) as client:
        # Start a sandbox
        sandbox = Sandbox.create("host", type="bubblewrap", memory_mb=128, cpu_cores=0.5, client=client)
        print(f"Sandbox ID: {sandbox.id}")

        # Run a command
        name = "gRPC" if isinstance(client, flash_sandbox.SandboxClient) else "HTTP"
        result = sandbox.run(["echo", f"Hello from {name}!"], check=True)
        print(f"Output: {result.stdout.strip()}")
        print(f"Exit code: {result.exit_code}")

        # Use its files
        sandbox.files.write("/work/names", "Grace\nAda\n", parents=True)
        process = sandbox.commands.start("sort names > sorted", cwd="/work")
        process.wait(check=True)
        print(f"Sorted: {sandbox.files.read('/work/sorted').decode().split()}")

        # Check status
        print(f"Status: {sandbox.status()}")

        # Get resource metrics
        metrics = sandbox.metrics()
        print(f"Memory: {metrics.memory_usage_bytes} / {metrics.memory_limit_bytes}")
        print(f"CPU: {metrics.cpu_percent:.1f}%")

        # Snapshot and resume
        snapshot = sandbox.snapshot()
        print(f"Snapshot: {snapshot.snapshot_path}")
        sandbox.resume()
        print(f"Resumed: {sandbox.status()}")

        # Stop
        sandbox.stop()
        print("Stopped")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
