"""Volumes as callers give them, and as they go over the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from flash_sandbox import Volume
from flash_sandbox.models import StartRequest
from flash_sandbox.models.volumes import local, merged, mounted


def test_a_mapping_becomes_texts_whose_relative_sources_are_those_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    given = {
        "/a": "./x",
        "/b": Volume("~/y", read_only=True),
        "/c": Path("/z/../w"),
        "/d": "/with:colon",
        "/e": "name",
    }
    assert StartRequest(volumes=given).volumes == (
        f"{tmp_path}/x:/a",
        "/home/me/y:/b:ro",
        "/w:/c",
        "/with:colon:/d",
        "name:/e",
    )


def test_texts_stay_as_they_are() -> None:
    texts = ("/x:/a", "/with:colon:/b:ro")
    assert StartRequest(volumes=texts).volumes == texts
    assert mounted(texts) == {"/a": Volume("/x"), "/b": Volume("/with:colon", read_only=True)}


def test_outer_targets_come_first() -> None:
    assert list(mounted(["/x:/a/b", "/y:/a", "/z:/a/b/c"])) == ["/a", "/a/b", "/a/b/c"]


def test_of_one_target_the_later_holds() -> None:
    assert merged(["/x:/b", "/y:/a"], ["/z:/b:ro"]) == ("/y:/a", "/z:/b:ro")


@pytest.mark.parametrize(
    ("text", "found"),
    [("x:/a", "x:/a"), ("x/y:/a", "{}/x/y:/a"), ("./x:/a:ro", "{}/x:/a:ro"), ("/x:/a", "/x:/a"), ("x", "x")],
)
def test_a_word_of_the_command_line_is_looked_up_from_here(
    text: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local(text) == found.format(tmp_path)
