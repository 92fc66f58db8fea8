"""One runtime through one client, for tests of a behaviour that every runtime has."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inside import wait_until

from flash_sandbox import SandboxAPI


class Runtime:
    """One runtime, through one client."""

    def __init__(self, client: SandboxAPI, type: str, image: str, state_dir: Path) -> None:
        self.client = client
        self.type = type
        self.image = image
        self.state_dir = state_dir

    def another_client(self) -> SandboxAPI:
        """Return a client of the same orchestrator with connections of its own."""
        return type(self.client)(address=str(self.client._transport.address))

    @contextmanager
    def sandbox(self, **options: object) -> Iterator[str]:
        """Start a sandbox for the length of a block."""
        asked = {"type": self.type, "memory_mb": 128, **options}
        if "snapshot_path" not in options:
            asked.setdefault("image", self.image)
        sandbox_id = self.client.start_sandbox(**asked)
        try:
            yield sandbox_id
        finally:
            self.client.stop_sandbox(sandbox_id)

    def sh(self, sandbox_id: str, script: str) -> str:
        """Run a script and return what it printed."""
        result = self.client.exec_command(sandbox_id, ["sh", "-c", script])
        assert result.exit_code == 0, result
        return result.stdout

    def count(self, sandbox_id: str, command: str) -> int:
        """Return how many processes in a sandbox have a command line that begins so."""
        script = (
            "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done 2> /dev/null "
            f"| grep -c '^{command}' || true"
        )
        return int(self.sh(sandbox_id, script))

    def perl(self, sandbox_id: str) -> list[str]:
        """Return how Perl is run in a sandbox, without any module; it is brought where there is none."""
        if self.client.exec_command(sandbox_id, ["perl", "-e", ""]).exit_code == 0:
            return ["perl"]
        program = Path(shutil.which("perl") or "/usr/bin/perl").resolve()
        listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        libraries = [Path(word) for word in listing.split() if word.startswith("/")]
        self.sh(sandbox_id, "mkdir -p /perl")
        for path in (program, *libraries):
            self.client.write_file(sandbox_id, f"/perl/{path.name}", path.read_bytes())
        self.sh(sandbox_id, "chmod 755 /perl/*")
        loader = next(path.name for path in libraries if path.name.startswith("ld-"))
        return [f"/perl/{loader}", "--library-path", "/perl", f"/perl/{program.name}"]

    def wait_for(self, sandbox_id: str, script: str, what: str) -> None:
        """Return once a script succeeds in a sandbox."""
        command = ["sh", "-c", script]
        wait_until(lambda: self.client.exec_command(sandbox_id, command).exit_code == 0, what)
