"""File systems of the tests' own, in files: small ones that can be filled, and others that share blocks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_BLOCK = 4096


@dataclass(frozen=True)
class SmallDisk:
    """One that is mounted."""

    path: Path

    def fill(self, leaving: int = 0) -> None:
        """Leave room for so many bytes, or none."""
        with (self.path / "filler").open("ab", buffering=0) as file:
            with suppress(OSError):
                while True:
                    file.write(bytes(_BLOCK))
            file.truncate(file.tell() - leaving)

    def empty(self) -> None:
        """Give the room back that `fill` took."""
        (self.path / "filler").unlink()

    def used(self) -> int:
        """Return how many bytes are taken, once all that was written is on the disk."""
        subprocess.run(["sync", "--file-system", self.path], check=True)
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a small ext4 file system for the length of the block; skip the test where that cannot be."""
    with _mounted(path, megabytes, "mkfs.ext4", "-q", "-m0", "-O", "^has_journal") as disk:
        yield disk


@contextmanager
def sharing_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount an XFS whose files can share blocks (reflinks), as `small_disk` does."""
    with _mounted(path, megabytes, "mkfs.xfs", "-q", "-m", "reflink=1") as disk:
        yield disk


def lacks_xfs() -> str | None:
    """Return why no XFS can be made here, or None."""
    if os.geteuid() != 0:
        return "only root can mount a file system"
    return None if shutil.which("mkfs.xfs") else "there is no mkfs.xfs (on Debian: apt-get install xfsprogs)"


@contextmanager
def _mounted(path: Path, megabytes: int, *make: str) -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    path.mkdir()
    image = path.with_name(f"{path.name}.image")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run([*make, str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode()}")
    try:
        path.chmod(0o700)
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        image.unlink()
