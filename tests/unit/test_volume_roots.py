"""Which directories sandboxes may have, and what is opened for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flash_sandbox import InvalidArgumentError, PermissionDeniedError
from flash_sandbox.orchestrator.volumes.roots import VolumeRoots


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    directory = tmp_path / "allowed"
    (directory / "inner").mkdir(parents=True)
    return directory


def opened(roots: VolumeRoots, source: Path, mode: str = "") -> str:
    with roots.opened([f"{source}:/target{mode}"]) as (volume,):
        return volume.path


def test_what_lies_at_or_below_a_root_is_opened(allowed: Path) -> None:
    roots = VolumeRoots([str(allowed)])
    assert opened(roots, allowed) == str(allowed)
    assert opened(roots, allowed / "inner") == str(allowed / "inner")
    roots.close()


def test_a_root_may_be_named_by_a_link(allowed: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(allowed)
    assert opened(VolumeRoots([str(tmp_path / "link")]), tmp_path / "link/inner") == str(allowed / "inner")


@pytest.mark.parametrize("source", ["", "outside", "allowed/../outside", "allowed/out", "allowed-too"])
def test_what_lies_elsewhere_is_refused(allowed: Path, tmp_path: Path, source: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "allowed-too").mkdir()
    (allowed / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(PermissionDeniedError, match="--volume-root"):
        opened(VolumeRoots([str(allowed)]), tmp_path / source)


def test_nothing_is_allowed_unless_it_is_named(allowed: Path) -> None:
    with pytest.raises(PermissionDeniedError, match="--volume-root"):
        opened(VolumeRoots(), allowed)


def test_of_two_roots_the_inner_one_holds(allowed: Path) -> None:
    for texts in ([f"{allowed}", f"{allowed}/inner:ro"], [f"{allowed}/inner:ro", f"{allowed}"]):
        roots = VolumeRoots(texts)
        assert opened(roots, allowed)
        assert opened(roots, allowed / "inner", ":ro")
        with pytest.raises(PermissionDeniedError, match="read-only"):
            opened(roots, allowed / "inner")


def test_a_link_to_a_root_that_may_only_be_read_gives_no_more(allowed: Path) -> None:
    (allowed / "link").symlink_to("inner")
    with pytest.raises(PermissionDeniedError, match="read-only"):
        opened(VolumeRoots([f"{allowed}", f"{allowed}/inner:ro"]), allowed / "link")


@pytest.mark.parametrize("own", ["allowed/inner", "allowed/inner/state"])
def test_the_orchestrators_own_files_are_in_no_volume(allowed: Path, tmp_path: Path, own: str) -> None:
    (allowed / "inner/state").mkdir()
    (allowed / "inner/beside").mkdir()
    roots = VolumeRoots(["/"], [tmp_path / own])
    for source in (allowed, allowed / "inner", allowed / "inner/state"):
        with pytest.raises(PermissionDeniedError, match="own"):
            opened(roots, source)


def test_what_is_no_directory_is_refused(allowed: Path) -> None:
    (allowed / "file").touch()
    for name in ("file", "missing"):
        with pytest.raises(InvalidArgumentError, match=name):
            opened(VolumeRoots([str(allowed)]), allowed / name)


def test_a_root_is_what_it_was_when_it_was_opened(allowed: Path, tmp_path: Path) -> None:
    roots = VolumeRoots([str(allowed)])
    (tmp_path / "other/inner").mkdir(parents=True)
    allowed.rename(tmp_path / "moved")
    (tmp_path / "other").rename(allowed)
    with pytest.raises(PermissionDeniedError):
        opened(roots, allowed / "inner")


def test_every_descriptor_is_closed(allowed: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    roots = VolumeRoots([str(allowed), "/:ro"])
    with roots.opened([f"{allowed}:/a", f"{allowed}/inner:/b"]):
        pass
    with pytest.raises(PermissionDeniedError):
        opened(roots, Path("/etc"))
    roots.close()
    roots.close()
    assert len(os.listdir("/proc/self/fd")) == before
