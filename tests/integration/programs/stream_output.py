"""Follow a command that prints much, and print what that took.

Arguments: name of the client, address, ID of the sandbox, size in MiB.
Printed: seconds that it took, bytes that this process grew by, digest of what came and of what was printed.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

from transfer import MIB, resident_bytes

import flash_sandbox

# No two MiB of it are the same, and they are random bytes.
SCRIPT = """
head -c 1048568 /dev/urandom > /tmp/block
mkfifo /tmp/copy
sha256sum < /tmp/copy > /tmp/sum &
i=0
while [ $i -lt $MIB ]; do
    i=$((i+1))
    printf %08d $i
    cat /tmp/block
done | tee /tmp/copy
wait
"""


def main(kind: str, address: str, sandbox_id: str, mib: int) -> None:
    with getattr(flash_sandbox, kind)(address=address, timeout=60) as client:
        client.exec_command(sandbox_id, ["true"])
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_bytes("VmRSS")
        began = time.monotonic()
        digest, size = hashlib.sha256(), 0
        with client.exec_stream(sandbox_id, SCRIPT, env={"MIB": str(mib)}) as stream:
            for frame in stream:
                digest.update(frame.data)
                size += len(frame.data)
        seconds = time.monotonic() - began
        growth = resident_bytes("VmHWM") - before
        assert size == mib * MIB, size
        inside = client.exec_command(sandbox_id, "cat /tmp/sum; rm /tmp/sum /tmp/block /tmp/copy").stdout
    print(seconds, growth)
    print(digest.hexdigest(), inside.split()[0])


if __name__ == "__main__":
    name, where, sandbox, size = sys.argv[1:]
    main(name, where, sandbox, int(size))
