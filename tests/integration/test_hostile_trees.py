"""Trees that a sandbox makes to be a nuisance: on every runtime they are saved or refused, and go with it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from every_runtime import Runtime
from inside import wait_until

from flash_sandbox import ConflictError
from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits
from flash_sandbox.orchestrator.state import directory

# Each round puts the tree below a new chain of directories, whose own path is one that the kernel takes.
DEEP = """
chain=$(printf 'd/%.0s' $(seq 1000))
for round in 1 2 3; do
    mkdir -p "/root/new/$chain"
    if [ -e /root/tree ]; then mv /root/tree "/root/new/$chain"; fi
    mv /root/new /root/tree
done
"""
LONG = """
name=$(printf 'n%.0s' $(seq 200))
chain=$(printf "$name/%.0s" $(seq 15))
for round in 1 2 3; do
    mkdir -p "/root/new/$chain"
    if [ -e /root/tree ]; then mv /root/tree "/root/new/$chain"; else chmod 0 "/root/new/$chain"; fi
    mv /root/new /root/tree
done
"""
CLOSED = """
mkdir -p /root/tree/a/b /root/tree/odd
touch /root/tree/a/b/file "/root/tree/odd/$(printf 'new\\nline\\377')"
chmod 0 /root/tree/a/b/file /root/tree/a/b /root/tree/a /root/tree
"""
TREES = {"deep": DEEP, "long": LONG, "closed": CLOSED}


def layers(runtime: Runtime) -> set[str]:
    """Return the names of what a bubblewrap sandbox has on this host, and of what is being removed."""
    found = set()
    for name in ("sandboxes", "trash"):
        with suppress(FileNotFoundError):
            found |= {path.name for path in Path(runtime.state_dir, name).iterdir()}
    return found


@pytest.mark.parametrize("tree", TREES)
def test_a_sandbox_with_any_tree_can_be_stopped_and_leaves_nothing(runtime: Runtime, tree: str) -> None:
    before = layers(runtime)
    with runtime.sandbox() as sandbox_id:
        runtime.sh(sandbox_id, TREES[tree])
    assert sandbox_id not in {info.id for info in runtime.client.list_sandboxes().sandboxes}
    wait_until(lambda: layers(runtime) <= before, "the writable layer to be removed", 60)
    with runtime.sandbox() as another:
        assert runtime.sh(another, "test -e /root/tree || echo none") == "none\n"


@pytest.mark.parametrize("tree", TREES)
def test_a_sandbox_with_any_tree_is_saved_or_goes_on(runtime: Runtime, tree: str) -> None:
    with runtime.sandbox() as sandbox_id:
        runtime.sh(sandbox_id, TREES[tree])
        if runtime.type == "bubblewrap" and tree != "closed":
            with pytest.raises(ConflictError, match="a path of more than 256 directories or 3072 bytes"):
                runtime.client.snapshot_sandbox(sandbox_id)
            assert runtime.sh(sandbox_id, "echo on") == "on\n"
            return
        path = runtime.client.snapshot_sandbox(sandbox_id).snapshot_path
        with runtime.sandbox(snapshot_path=path) as copy:
            assert runtime.sh(copy, "chmod 700 /root/tree && cd /root/tree && echo *") != "*\n"
        runtime.client.remove_snapshot(path)


def make_deep(top: Path) -> None:
    top.mkdir(parents=True)
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


def test_an_orchestrator_starts_with_any_tree_that_a_killed_one_left(tmp_path: Path, limits: Limits) -> None:
    make_deep(tmp_path / "sandboxes" / "left" / "upper")
    make_deep(tmp_path / "trash" / "left before")
    with running_orchestrator(state_dir=tmp_path, limits=limits):
        assert list((tmp_path / "sandboxes").iterdir()) == []
        wait_until(lambda: not list((tmp_path / "trash").iterdir()), "what was left to be removed", 60)


def test_an_embedded_orchestrator_starts_whatever_another_one_left(
    tmp_path: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "flash-sandbox-left"
    make_deep(left / "sandboxes" / "one" / "upper")
    directory.note_version(left)
    other = tmp_path / "flash-sandbox-checkout"
    other.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # It is old enough not to be of one that begins just now.
    monkeypatch.setattr(directory, "_SETTLED_SECONDS", -3600.0)
    with running_orchestrator(limits=limits):
        wait_until(lambda: not left.exists(), "what was left to be removed", 60)
    assert other.exists()
