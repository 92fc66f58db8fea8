"""Embedded sandboxes die with the orchestrator that made them, and the next one finds nothing half-made."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from inside import begin, run_in, wait_until
from killed import Told, killed
from layouts import busybox, busybox_layer, entry, tar_bytes
from test_serve import cgroups_named

from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.runtimes.bubblewrap.runtime import BubblewrapRuntime
from flash_sandbox.orchestrator.runtimes.catalogue import Limits
from flash_sandbox.orchestrator.snapshots.store import Snapshots
from flash_sandbox.orchestrator.state.database import Database

# How long what an orchestrator has left may live.
DEATH_SECONDS = 2.0

POINTS = [
    # The start: image, cgroup, layer, launcher, guest agent.
    "before archives.extraction Extraction.finish 1",
    "before images.store Records.put 1",
    "after runtimes.bubblewrap.runtime BubblewrapRuntime._make_group 1",
    "after runtimes.bubblewrap.runtime BubblewrapRuntime._make_layer 1",
    "after runtimes.bubblewrap.launcher_client LauncherClient._send 1",
    "before runtimes.bubblewrap.launcher_client LauncherClient._on_readable 1",
    "before guest.guest Guest.open 1",
    "after guest.guest Guest.open 1",
    "after guest.greeting Greeting.confine 1",
    "after runtimes.bubblewrap.runtime BubblewrapRuntime.create 1",
    # The command.
    "after guest.guest Guest._begin 1",
    "before runtimes.bubblewrap.runtime BubblewrapRuntime.pause 1",
    # The snapshot: frozen, packing, packed, without its row, complete.
    "after runtimes.bubblewrap.runtime BubblewrapRuntime.pause 1",
    "before archives.layer_walk LayerWalk._take 2",
    "after archives.layers pack_layer 1",
    "before snapshots.files _sync 1",
    "before snapshots.store Snapshots.add 1",
    "after snapshots.store Snapshots.add 1",
    # The start from it.
    "after runtimes.bubblewrap.runtime BubblewrapRuntime.resume 1",
    "before archives.extraction Extraction.finish 2",
    "after runtimes.bubblewrap.launcher_client LauncherClient._send 2",
    # The stop: before and after the kill, without its cgroup, with its layer thrown away.
    "before runtimes.bubblewrap.runtime signal.pidfd_send_signal 1",
    "after runtimes.bubblewrap.runtime signal.pidfd_send_signal 1",
    "before runtimes.bubblewrap.launcher_client LauncherClient.forget 1",
    "after runtimes.bubblewrap.launcher_client LauncherClient.forget 1",
    "after state.trash Trash.throw_away 1",
    "after runtimes.bubblewrap.runtime BubblewrapRuntime.stop 1",
    # The removal of the snapshot: without its row, without its unpacked layer, and all of it.
    "before runtimes.bubblewrap.runtime BubblewrapRuntime.forget_snapshot 1",
    "before snapshots.files SnapshotFiles.remove 1",
    "after snapshots.store Snapshots.remove 1",
    "end",
]


@pytest.fixture
def state_dir(tmp_path: Path, need) -> Path:
    """Make a state directory whose operator has put an image into it."""
    need(
        "busybox",
        None if busybox() else "there is no static busybox (on Debian: apt-get install busybox-static)",
    )
    roots = tmp_path / "state" / "rootfs"
    roots.mkdir(parents=True)
    (roots / "small.tar").write_bytes(tar_bytes([*busybox_layer(), entry("etc/motd", content=b"intact")]))
    return tmp_path / "state"


@asynccontextmanager
async def next_runtime(state_dir: Path, limits: Limits) -> AsyncIterator[tuple[BubblewrapRuntime, Snapshots]]:
    database = Database(state_dir)
    snapshots = Snapshots(state_dir / "snapshots", database)
    await snapshots.open()
    runtime = BubblewrapRuntime(state_dir, limits=limits, snapshots=snapshots)
    await runtime.open()
    try:
        yield runtime, snapshots
    finally:
        await runtime.close()
        database.close()


def processes_of(name: str, state_dir: Path) -> list[str]:
    """Return the processes whose command line or environment names a sandbox, or the state directory."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if name.encode() in text or os.fsencode(state_dir) in text:
            found.append(f"{process.name}: {text[:200]!r}")
    return found


def names_below(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_any_point_leaves_nothing_but_what_was_acknowledged(
    state_dir: Path, limits: Limits, point: str
) -> None:
    name, image = secrets.token_hex(8), str(state_dir / "rootfs" / "small.tar")
    told = await killed(state_dir, "bubblewrap", limits, image, name, point)
    await asyncio.to_thread(
        wait_until,
        lambda: not processes_of(name, state_dir),
        "the sandboxes and the launcher to end",
        DEATH_SECONDS,
    )
    async with next_runtime(state_dir, limits) as (runtime, snapshots):
        assert_clean(state_dir, name)
        await assert_kept(runtime, snapshots, told)
        await begin(runtime, "other", StartRequest(image=image))
        assert (await run_in(runtime, "other", "cat", "/etc/motd")).stdout == "intact"
        assert names_below(state_dir / "sandboxes") == {"other"}
    assert names_below(state_dir) == {"images", "rootfs", "snapshots", "state.db"}


def assert_clean(state_dir: Path, name: str) -> None:
    """Fail where there is anything of a sandbox, or anything half-made."""
    assert names_below(state_dir / "sandboxes") == set()
    assert cgroups_named(f"first-{name}") == cgroups_named(f"second-{name}") == []
    assert str(state_dir) not in Path("/proc/self/mountinfo").read_text()
    assert not list((state_dir / "images").rglob("*.partial"))
    assert not any((state_dir / "images" / "trees" / "trash").iterdir())


async def assert_kept(runtime: BubblewrapRuntime, snapshots: Snapshots, told: Told) -> None:
    """Fail where a snapshot is lost, is back, or cannot be started from."""
    listed = snapshots.listed()
    assert {snapshot.path for snapshot in listed} == set(snapshots.files.directory.iterdir())
    assert told.snapshots <= {snapshot.id for snapshot in listed}
    assert not told.removed & {snapshot.id for snapshot in listed}
    for snapshot in listed:
        await begin(runtime, "copy", StartRequest(), snapshot=snapshot)
        assert (await run_in(runtime, "copy", "cat", "/file")).stdout == "kept\n"
        await runtime.stop("copy")
