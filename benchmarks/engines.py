"""What the host has to measure with, and the engine that the tests start."""

from __future__ import annotations

import asyncio
import functools
import importlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime

__all__ = [
    "IMAGE",
    "gvisor_found",
    "lacks_docker",
    "lacks_docker_program",
    "lacks_gvisor",
    "lacks_xfs",
    "running_engine",
    "sharing_disk",
]

IMAGE: Final = "busybox:latest"
"""The image that the engine has."""

_TESTS: Final = Path(__file__).resolve().parents[1] / "tests"
_DISK_MEGABYTES: Final = 4096


@functools.cache
def _of_the_tests(module: str, directory: Path) -> Any:
    sys.path.insert(0, str(directory))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(directory))


def _tests_engine() -> Any:
    return _of_the_tests("docker_engine", _TESTS / "integration")


def running_engine() -> AbstractContextManager[Any]:
    """Run an engine that has the image; its address is the attribute ``host``."""
    engine: AbstractContextManager[Any] = _tests_engine().running_engine()
    return engine


@contextmanager
def sharing_disk(path: Path) -> Iterator[Path]:
    """Mount a file system whose files can share blocks."""
    with _of_the_tests("small_disk", _TESTS).sharing_disk(path, _DISK_MEGABYTES):
        yield path


def lacks_xfs() -> str | None:
    """Return what this host lacks for `sharing_disk`, or None."""
    missing: str | None = _of_the_tests("small_disk", _TESTS).lacks_xfs()
    return missing


def lacks_docker() -> str | None:
    """Return what this host lacks to run an engine, or None."""
    missing: str | None = _tests_engine().missing()
    return missing


def lacks_docker_program() -> str | None:
    """The same, the program ``docker`` included."""
    return lacks_docker() or (None if shutil.which("docker") else "there is no docker on PATH")


@functools.cache
def gvisor_found() -> tuple[bool, str]:
    """Tell whether gVisor runs here, and what was found."""
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(GvisorRuntime(Path(directory)).check())
    return found.available, found.detail


def lacks_gvisor() -> str | None:
    """Return what this host lacks to run gVisor, or None."""
    available, detail = gvisor_found()
    return None if available else detail
