"""What the host has to measure with, and the engine that the tests start."""

from __future__ import annotations

import asyncio
import functools
import importlib
import shutil
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime

__all__ = [
    "IMAGE",
    "gvisor_found",
    "lacks_docker",
    "lacks_docker_program",
    "lacks_gvisor",
    "running_engine",
]

IMAGE: Final = "busybox:latest"
"""The image that the engine has."""

_TESTS: Final = Path(__file__).resolve().parents[1] / "tests" / "integration"


@functools.cache
def _tests_engine() -> Any:
    sys.path.insert(0, str(_TESTS))
    try:
        return importlib.import_module("docker_engine")
    finally:
        sys.path.remove(str(_TESTS))


def running_engine() -> AbstractContextManager[Any]:
    """Run an engine that has the image; its address is the attribute ``host``."""
    engine: AbstractContextManager[Any] = _tests_engine().running_engine()
    return engine


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
