"""Orchestrators that share a host, each with cgroups of its own, remove what others have left."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flash_sandbox.orchestrator.linux.cgroup_files import Mount
from flash_sandbox.orchestrator.linux.cgroup_owners import Held, leftovers, new_owner
from flash_sandbox.orchestrator.linux.cgroup_v1 import HierarchyV1

# Nobody holds its lock.
GONE = new_owner()


def mounts_below(directory: Path) -> list[Mount]:
    """Return a mount of each controller of version 1, in a directory of its own."""
    return [
        Mount(directory / controller, "/", is_v2=False, controllers=frozenset({controller}))
        for controller in HierarchyV1.REQUIRED
    ]


def test_what_another_orchestrator_removes_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = mounts_below(tmp_path)
    for mount in mounts:
        (mount.path / "family" / GONE / "sandbox" / "exec").mkdir(parents=True)
    look = os.scandir

    looks = itertools.count()

    def remove_and_look(path: Any) -> Any:
        # Each was looked into once to find out whether it is left over; this is when it is to be ended.
        if str(path).endswith("/sandbox") and next(looks) == len(mounts):
            for mount in mounts:
                shutil.rmtree(mount.path / "family" / GONE)
        return look(path)

    hierarchy = HierarchyV1(mounts, {}, "family", new_owner())
    monkeypatch.setattr(os, "scandir", remove_and_look)
    hierarchy.remove_leftovers()
    assert not list(tmp_path.glob(f"*/family/{GONE}"))


def test_what_another_orchestrator_removes_on_leaving_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = mounts_below(tmp_path)
    make, removed = os.mkdir, []

    def make_and_lose(path: Any, *options: Any) -> None:
        make(path, *options)
        # The first time that each family is made; its owner's cgroup is made next.
        if Path(path).name == "family" and path not in removed:
            removed.append(path)
            Path(path).rmdir()

    for mount in mounts:
        mount.path.mkdir()
    monkeypatch.setattr(os, "mkdir", make_and_lose)
    owner = new_owner()
    HierarchyV1(mounts, {}, "family", owner)
    assert len(removed) == len(mounts)
    assert all((mount.path / "family" / owner).is_dir() for mount in mounts)


def test_what_an_owner_holds_is_left_alone_by_every_other_one(tmp_path: Path) -> None:
    mounts = mounts_below(tmp_path)
    owner = new_owner()
    living = HierarchyV1(mounts, {}, "family", owner)
    HierarchyV1(mounts, {}, "family", new_owner()).remove_leftovers()
    assert len(list(tmp_path.glob(f"*/family/{owner}"))) == len(mounts)
    living.close()
    assert not list(tmp_path.glob(f"*/family/{owner}"))


def test_a_cgroup_that_somebody_removed_is_held_again(tmp_path: Path) -> None:
    held = Held()
    held.take(tmp_path / "family" / "owner")
    shutil.rmtree(tmp_path / "family")
    held.take(tmp_path / "family" / "owner")
    with leftovers([tmp_path / "family"]) as found:
        assert found == []
    held.release()


def test_a_lock_that_the_kernel_refuses_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = os.listdir("/proc/self/fd")
    with suppress(OSError):
        Held().take(tmp_path / "family" / "owner")
    with leftovers([tmp_path / "family"]) as found:
        assert found == []
    assert (tmp_path / "family" / "owner").is_dir()
    assert os.listdir("/proc/self/fd") == before
