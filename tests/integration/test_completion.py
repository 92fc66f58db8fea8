"""Shell completion, as the shells ask for it, and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator import Orchestrator


@pytest.fixture(scope="module")
def client(orchestrator: Orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


@pytest.fixture(scope="module")
def sandbox_id(client: HTTPClient) -> Iterator[str]:
    sandbox_id = client.start_sandbox("bubblewrap", name="completed-one", memory_mb=64)
    yield sandbox_id
    client.stop_sandbox(sandbox_id)


def answer(environment: dict[str, str], address: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "flash_sandbox.cli"],
        env=os.environ | environment | {"FLASH_SANDBOX_ADDR": address},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


def bash(words: str, address: str) -> str:
    return answer(
        {
            "_FLASH_SANDBOX_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        address,
    )


def zsh(words: str, address: str) -> str:
    return answer({"_FLASH_SANDBOX_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}, address)


def fish(words: str, address: str) -> str:
    return answer(
        {
            "_FLASH_SANDBOX_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_ARGS": words,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
        address,
    )


SHELLS = pytest.mark.parametrize("shell", [bash, zsh, fish])
Shell = Callable[[str, str], str]


@SHELLS
def test_ids_and_names_of_sandboxes(shell: Shell, orchestrator: Orchestrator, sandbox_id: str) -> None:
    for words in ("flash-sandbox inspect ", "flash-sandbox exec -i "):
        offered = shell(words, orchestrator.http_address)
        assert sandbox_id in offered
        assert "completed-one" in offered


@SHELLS
def test_only_what_begins_so(shell: Shell, orchestrator: Orchestrator, sandbox_id: str) -> None:
    offered = shell("flash-sandbox stop completed-", orchestrator.http_address)
    assert "completed-one" in offered
    assert bash("flash-sandbox stop no-such-", orchestrator.http_address).strip() == ""


@SHELLS
def test_commands_and_options(shell: Shell, orchestrator: Orchestrator) -> None:
    assert "snapshots" in shell("flash-sandbox sna", orchestrator.http_address)
    assert "--no-stream" in shell("flash-sandbox stats --no", orchestrator.http_address)
    assert "grpc" in shell("flash-sandbox ps --transport g", orchestrator.http_address)


def test_the_orchestrator_that_the_words_before_name_is_asked(
    orchestrator: Orchestrator, sandbox_id: str
) -> None:
    words = f"flash-sandbox inspect --transport grpc --address {orchestrator.grpc_address} "
    assert sandbox_id in bash(words, "127.0.0.1:1")


def test_a_sandbox_in_a_place_to_copy(orchestrator: Orchestrator, sandbox_id: str) -> None:
    offered = bash("flash-sandbox cp completed", orchestrator.http_address)
    assert offered.split() == ["completed-one:"]


def test_snapshots(orchestrator: Orchestrator, client: HTTPClient, sandbox_id: str) -> None:
    path = client.snapshot_sandbox(sandbox_id).snapshot_path
    client.resume_sandbox(sandbox_id)
    name = path.rpartition("/")[2]
    assert bash(f"flash-sandbox restore {name[:12]}", orchestrator.http_address).strip() == name
    assert bash(f"flash-sandbox snapshots rm {path[:-8]}", orchestrator.http_address).strip() == path
    client.remove_snapshot(path)


def test_an_orchestrator_that_is_away_offers_nothing_and_says_nothing() -> None:
    assert bash("flash-sandbox inspect ", "127.0.0.1:1").strip() == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, orchestrator: Orchestrator) -> None:
    script = answer({"_FLASH_SANDBOX_COMPLETE": f"source_{shell}"}, orchestrator.http_address)
    assert "_FLASH_SANDBOX_COMPLETE" in script
    assert f"complete_{shell}" in script


@pytest.mark.parametrize("called", ["flash-sandbox", "fsb"])
def test_a_real_bash_completes(
    called: str, orchestrator: Orchestrator, sandbox_id: str, tmp_path: Path
) -> None:
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("this host has no bash")
    program = tmp_path / called
    program.write_text(f"#!{sys.executable}\nfrom flash_sandbox.cli import main\nmain()\n")
    program.chmod(0o755)
    variable = f"_{called.upper().replace('-', '_')}_COMPLETE"
    script = f"""
eval "$({variable}=source_bash {called})"
function=$(complete -p {called} | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=({called} inspect completed-) COMP_CWORD=2
$function {called} completed- inspect
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        [shell, "--norc", "-c", script],
        env=os.environ
        | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "FLASH_SANDBOX_ADDR": orchestrator.http_address,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("completed-one\n", "")
