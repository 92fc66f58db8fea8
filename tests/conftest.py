"""Fixtures of all tests: a live orchestrator, the four clients, and what a host may lack."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, cast

import hypothesis
import pytest
from gate_servers import RESOLVE
from other_user import NOBODY
from quartet import CLIENTS, Blocking

import flash_sandbox
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.linux.cgroups import CgroupError, find_hierarchy
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

# The same examples in every run, so that a failure is one of the change under test.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("long", max_examples=2000, deadline=None)
hypothesis.settings.load_profile("ci")

# Who runs this in the background of a shell has it ignored, by every program that is started from here, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

NO_ENGINE: Final = "unix:///nowhere/docker.sock"
REQUIRED: Final = frozenset(os.environ.get("FLASH_SANDBOX_REQUIRE_ENGINES", "").split(","))

Need = Callable[[str, str | None], None]
"""Skips a test for what the host lacks (None: nothing), unless that must be there."""

Connect = Callable[..., flash_sandbox.SandboxAPI]
"""Makes a client of the kind under test for an address; keyword arguments are the constructor's."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what tests have measured, which nothing is asserted of."""
    for report in terminalreporter.getreports("passed"):
        for name, measured in report.user_properties:
            terminalreporter.write_line(f"{name}: {measured}")


@pytest.fixture(scope="session")
def need() -> Need:
    """Skip where an engine is missing, but fail where $FLASH_SANDBOX_REQUIRE_ENGINES names it."""

    def skip(engine: str, missing: str | None) -> None:
        if missing is None:
            return
        if engine in REQUIRED:
            pytest.fail(f"{engine} is required, but {missing}")
        pytest.skip(f"{engine}: {missing}")

    return skip


@pytest.fixture(scope="session")
def other_user(need: Need) -> int:
    """Return a user as whom `other_user.acting_as` can act."""
    need("root", None if os.geteuid() == 0 else "only root can act as another user")
    return NOBODY


@pytest.fixture(scope="module", autouse=True)
def _the_hosts_null_device_stays_as_it_is() -> Iterator[None]:
    """Nothing that a sandbox or its runtime does may reach the device that everybody uses."""
    before = os.stat(os.devnull)
    yield
    after = os.stat(os.devnull)
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


@pytest.fixture(scope="session")
def limits() -> Limits:
    """Enforce limits where this host gives a cgroup."""
    try:
        find_hierarchy().close()
    except CgroupError as error:
        if "cgroup" in REQUIRED:
            pytest.fail(f"a cgroup is required, but {error}")
        return "best-effort"
    return "enforce"


@pytest.fixture(scope="session")
def volume_root() -> Iterator[Path]:
    """Return a directory that every user can write to, and below which orchestrators allow volumes."""
    with tempfile.TemporaryDirectory(prefix="volumes-of-tests-") as directory:
        os.chmod(directory, 0o1777)
        Path(directory, "read-only").mkdir()
        yield Path(directory)


@pytest.fixture(scope="session")
def volume_roots(volume_root: Path) -> list[str]:
    """Return what orchestrators are told of it."""
    return [str(volume_root), f"{volume_root}/read-only:ro"]


@pytest.fixture(scope="session")
def orchestrator(limits: Limits, volume_roots: list[str]) -> Iterator[Orchestrator]:
    """Run one orchestrator for all tests, in this process, on free ports and a temporary state directory."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            # This host's Docker Engine, if it has one, is not the tests' to use.
            patch.setenv("DOCKER_HOST", NO_ENGINE)
            running = stack.enter_context(
                running_orchestrator(limits=limits, volume_roots=volume_roots, resolve=RESOLVE)
            )
        yield running


@pytest.fixture(scope="session", params=CLIENTS)
def kind(request: pytest.FixtureRequest) -> str:
    """Name the client under test."""
    return cast(str, request.param)


@pytest.fixture
def connect(kind: str) -> Iterator[Connect]:
    """Make clients of the kind under test; they are closed at the end."""
    with asyncio.Runner() as runner:
        made: list[Any] = []

        def make(address: str, **options: Any) -> flash_sandbox.SandboxAPI:
            client = getattr(flash_sandbox, kind)(address=address, **options)
            made.append(Blocking(runner, client) if kind.startswith("Async") else client)
            return cast(flash_sandbox.SandboxAPI, made[-1])

        yield make
        for client in made:
            client.close()
