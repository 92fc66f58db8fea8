"""The range of IDs that /etc/subuid and /etc/subgid give a user."""

from __future__ import annotations

import os
import pwd
import shutil

import pytest

from flash_sandbox.orchestrator.linux import subordinate_ids
from flash_sandbox.orchestrator.linux.id_range import IdRange
from flash_sandbox.orchestrator.linux.subordinate_ids import IdMap, NoRange, find_range

NAME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture(autouse=True)
def _needs_the_programs(need):
    need("newuidmap", None if shutil.which("newuidmap") else "there is no newuidmap (Debian: uidmap)")


def written(etc, users: str, groups: str) -> IdMap:
    (etc / "subuid").write_text(users)
    (etc / "subgid").write_text(groups)
    return find_range(etc)


@pytest.mark.parametrize("owner", [NAME, str(os.geteuid())])
def test_a_user_is_named_or_numbered(tmp_path, owner):
    found = written(tmp_path, f"other:5:65536\n{owner}:100000:65536\n", f"{owner}:200000:65536\n")
    assert found == IdMap(100000, 200000, 65535)
    assert found.ids == IdRange(0, 65536)


def test_the_largest_of_several_ranges_is_used_as_far_as_both_kinds_have_it(tmp_path):
    users = f"{NAME}:1000:10\n{NAME}:300000:70000\n{NAME}:2000:0\n"
    assert written(tmp_path, users, f"{NAME}:9000:500\n") == IdMap(300000, 9000, 500)


@pytest.mark.parametrize(
    "users", ["", "other:100000:65536\n", f"{NAME}:x:65536\n{NAME}:100000:0\n", f"{NAME}:100000\n"]
)
def test_without_a_range_the_file_that_lacks_it_is_named(tmp_path, users):
    with pytest.raises(NoRange, match=f"{tmp_path}/subuid has no range for {NAME} .*usermod"):
        written(tmp_path, users, f"{NAME}:100000:65536\n")


def test_without_the_programs_their_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(subordinate_ids.shutil, "which", lambda *_, **__: None)
    with pytest.raises(NoRange, match=r"there is no newuidmap .*uidmap"):
        written(tmp_path, f"{NAME}:100000:65536\n", f"{NAME}:100000:65536\n")
