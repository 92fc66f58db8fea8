"""What the command line asks of a sandbox, on every runtime."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_lines import CommandLine
from inside import wait_until


@pytest.fixture
def line(engine_orchestrator) -> CommandLine:
    return CommandLine("http", engine_orchestrator.orchestrator)


def test_a_command_in_a_sandbox_of_its_own(line: CommandLine, engine_orchestrator) -> None:
    of = ["--type", engine_orchestrator.type, "--image", engine_orchestrator.image, "-m", "128"]
    done = line.run("run", *of, "-i", "--", "sh", "-c", "cat; echo err >&2; exit 3", stdin=b"in\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"in\n", b"err\n", 3)


def test_a_directory_of_the_host(line: CommandLine, engine_orchestrator, volume_root: Path) -> None:
    (volume_root / "of-the-line").mkdir(exist_ok=True)
    (volume_root / "of-the-line/file").write_text("content")
    of = ["--type", engine_orchestrator.type, "--image", engine_orchestrator.image, "-m", "128"]
    volume = os.path.relpath(volume_root / "of-the-line")
    done = line.run("run", *of, "-v", f"{volume}:/work:ro", "--", "cat", "/work/file")
    assert (done.stdout, done.returncode) == (b"content", 0), done


def test_a_life_from_its_start_to_its_end(line: CommandLine, engine_orchestrator, tmp_path: Path) -> None:
    of = ["--type", engine_orchestrator.type, "--image", engine_orchestrator.image, "-m", "128"]
    sandbox_id = line.json("start", *of, "--", "sh", "-c", "echo printed; exec sleep 9701")["id"]
    try:
        wait_until(lambda: line.printed("logs", sandbox_id) == "printed\n", "its output")
        processes = line.json("top", sandbox_id)
        (main,) = (one for one in processes if one["command"] == "sleep 9701")
        assert (main["uid"], main["rss_bytes"] > 0) == (0, True)
        # What lists them is not listed.
        assert not [one for one in processes if "cmdline" in one["command"]]
        (reading,) = line.json_lines("stats", "--no-stream", sandbox_id)
        assert reading["memory_usage_bytes"] > 0
        line.printed("cp", __file__, f"{sandbox_id}:/tmp/")
        line.printed("cp", f"{sandbox_id}:/tmp/{Path(__file__).name}", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == Path(__file__).read_bytes()
        line.printed("pause", sandbox_id)
        assert line.json("inspect", sandbox_id)["status"] == "paused"
        line.printed("resume", sandbox_id)
        path = line.json("snapshot", sandbox_id)["snapshot_path"]
        copy = line.json("restore", path, "-m", "128")["id"]
        there = ["exec", copy, "--", "cat", f"/tmp/{Path(__file__).name}"]
        assert line.printed(*there) == Path(__file__).read_text()
        assert line.json("stop", copy) == [copy]
    finally:
        assert line.json("stop", sandbox_id) == [sandbox_id]
