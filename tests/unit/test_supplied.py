"""Files that a root file system is given, whatever it has in their place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flash_sandbox.orchestrator.archives.supplied import has_place_in, lacking, supply

NAMES = ["hosts", "resolv.conf", "nsswitch.conf"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/etc").mkdir(parents=True)
    return tmp_path / "root"


def test_a_root_file_system_without_etc_is_given_one(tmp_path):
    supply(tmp_path)
    assert "127.0.0.1\tlocalhost" in (tmp_path / "etc/hosts").read_text()
    assert os.readlink(tmp_path / "etc/hostname") == "/proc/sys/kernel/hostname"


@pytest.mark.parametrize("text", ["", "127.0.0.1 builder\n", "x" * 100_000])
def test_hosts_of_whoever_built_an_image_give_way(root, text):
    (root / "etc/hosts").write_text(text)
    supply(root)
    assert "localhost" in (root / "etc/hosts").read_text()


def test_an_images_own_name_services_stay(root):
    (root / "etc/nsswitch.conf").write_text("hosts: files mdns\n")
    supply(root)
    assert (root / "etc/nsswitch.conf").read_text() == "hosts: files mdns\n"


def test_apt_is_told_not_to_change_its_user_where_there_is_apt(root):
    (root / "etc/apt/apt.conf.d").mkdir(parents=True)
    supply(root)
    (file,) = (root / "etc/apt/apt.conf.d").iterdir()
    assert 'APT::Sandbox::User "root"' in file.read_text()


def test_a_file_that_is_a_link_is_replaced_and_what_it_leads_to_stays(root, tmp_path):
    (tmp_path / "of the host").write_text("as it was")
    (root / "etc/hosts").symlink_to(tmp_path / "of the host")
    supply(root)
    assert not (root / "etc/hosts").is_symlink()
    assert (tmp_path / "of the host").read_text() == "as it was"


@pytest.mark.parametrize("name", ["etc", "etc/apt", "etc/apt/apt.conf.d"])
def test_no_link_is_followed_out_of_the_root_file_system(root, tmp_path, name):
    outside = tmp_path / "outside"
    (outside / "apt/apt.conf.d").mkdir(parents=True)
    path = root / name
    if name == "etc":
        path.rmdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside)
    supply(root)
    assert [entry for entry in outside.rglob("*") if not entry.is_dir()] == []
    if name == "etc":
        assert lacking(root) == ()


def test_twice_changes_nothing(root):
    supply(root)
    before = {path.name: path.lstat().st_ino for path in (root / "etc").iterdir()}
    supply(root)
    assert {path.name: path.lstat().st_ino for path in (root / "etc").iterdir()} == before


def test_a_directory_lacks_what_it_has_not_and_what_is_empty(root, tmp_path):
    assert [*lacking(root)] == NAMES
    (root / "etc/hosts").touch()
    assert [*lacking(root)] == NAMES
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    assert [*lacking(root)] == NAMES[1:]
    assert [*lacking(tmp_path / "without etc")] == NAMES


@pytest.mark.parametrize("name", ["hosts", "apt/apt.conf.d/99flash-sandbox"])
def test_a_file_has_a_place_in_a_layer_that_has_nothing_or_a_file_there(tmp_path, name):
    assert has_place_in(tmp_path, name)
    path = tmp_path / "etc" / name
    path.parent.mkdir(parents=True)
    assert has_place_in(tmp_path, name)
    path.touch()
    assert has_place_in(tmp_path, name)


@pytest.mark.parametrize("link", ["etc", "etc/apt", "etc/apt/apt.conf.d", "etc/apt/apt.conf.d/x"])
def test_a_file_has_no_place_beyond_a_link_of_a_layer(tmp_path, link):
    (tmp_path / "outside/apt/apt.conf.d").mkdir(parents=True)
    path = tmp_path / "layer" / link
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "outside")
    assert not has_place_in(tmp_path / "layer", "apt/apt.conf.d/x")


@pytest.mark.parametrize("in_the_way", ["etc", "etc/hosts/directory"])
def test_a_file_has_no_place_where_a_layer_has_something_else(tmp_path, in_the_way):
    path = tmp_path / in_the_way
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert not has_place_in(tmp_path, "hosts")
