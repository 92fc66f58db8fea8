"""Copy a large file into a sandbox and out of it again, and print what that took.

Arguments: name of the client, address, ID of the sandbox, local directory, size in MiB.
Printed: seconds of the upload and of the download, bytes that this process grew by, digest of each copy.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import random
import sys
import time
from pathlib import Path
from typing import Any

import flash_sandbox

MIB = 1024 * 1024


def write_large_file(path: Path, mib: int) -> None:
    """Write content that no two MiB of are the same, at little cost."""
    block = bytearray(random.Random(7).randbytes(MIB))
    with path.open("wb") as file:
        for number in range(mib):
            block[:8] = number.to_bytes(8, "big")
            file.write(block)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resident_bytes(field: str) -> int:
    """Return a number of /proc/self/status: VmRSS is that of now, VmHWM the highest so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


async def done(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


async def main(kind: str, address: str, sandbox_id: str, directory: Path, mib: int) -> None:
    source, copy = directory / "source", directory / "copy"
    write_large_file(source, mib)
    expected = digest(source)
    seen = []
    client = getattr(flash_sandbox, kind)(address=address, timeout=60)
    await done(client.read_file(sandbox_id, "/etc/passwd"))
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    began = time.monotonic()
    await done(client.upload(sandbox_id, source, "/root/large", progress=lambda *told: seen.append(told)))
    uploaded = time.monotonic()
    assert seen[-1] == (mib * MIB, mib * MIB), seen[-1]
    assert [told[0] for told in seen] == sorted(told[0] for told in seen)
    source.unlink()
    seen.clear()
    middle = time.monotonic()
    await done(client.download(sandbox_id, "/root/large", copy, progress=lambda *told: seen.append(told)))
    ended = time.monotonic()
    assert seen[-1] == (mib * MIB, mib * MIB), seen[-1]
    growth = resident_bytes("VmHWM") - before
    inside = await done(client.exec_command(sandbox_id, ["sha256sum", "/root/large"]))
    await done(client.remove(sandbox_id, "/root/large"))
    await done(client.close())
    print(uploaded - began, ended - middle, growth)
    print(expected, inside.stdout.split()[0], digest(copy))
    copy.unlink()


if __name__ == "__main__":
    name, where, sandbox, folder, size = sys.argv[1:]
    asyncio.run(main(name, where, sandbox, Path(folder), int(size)))
