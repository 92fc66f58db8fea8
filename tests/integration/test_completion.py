"""Shell completion, as the shells ask for it, and in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_lines import ON_TERMINAL, Terminal

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


CALLED = pytest.mark.parametrize("called", ["flash-sandbox", "fsb"])
BASH = """
eval "$(_{variable}_COMPLETE=source_bash {called})"
function=$(complete -p {called} | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=({called} inspect completed-) COMP_CWORD=2
$function {called} completed- inspect
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
FISH = """
_{variable}_COMPLETE=source_fish {called} | source
complete --do-complete '{called} inspect completed-'
"""


@pytest.fixture
def environment(orchestrator: Orchestrator, called: str, tmp_path: Path) -> dict[str, str]:
    """The command line is a program on the path, under its name or its other one."""
    program = tmp_path / called
    program.write_text(f"#!{sys.executable}\nfrom flash_sandbox.cli import main\nmain()\n")
    program.chmod(0o755)
    return os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "FLASH_SANDBOX_ADDR": orchestrator.http_address,
        "HOME": str(tmp_path),
        "TERM": "vt220",
    }


def variable(called: str) -> str:
    return called.upper().replace("-", "_")


@CALLED
@pytest.mark.parametrize(
    ("shell", "options", "script"), [("bash", ["--norc"], BASH), ("fish", ["--no-config"], FISH)]
)
def test_a_real_shell_completes(
    shell: str,
    options: list[str],
    script: str,
    called: str,
    environment: dict[str, str],
    sandbox_id: str,
    need: Callable[[str, str | None], None],
) -> None:
    need(shell, None if shutil.which(shell) else f"this host has no {shell}")
    done = subprocess.run(
        [shell, *options, "-c", script.format(called=called, variable=variable(called))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # fish tells what each is, too.
    assert (done.stdout.split()[0], done.stderr) == ("completed-one", "")
    assert done.stdout.count("\n") == 1


@CALLED
def test_a_real_zsh_completes(
    called: str,
    environment: dict[str, str],
    sandbox_id: str,
    need: Callable[[str, str | None], None],
) -> None:
    # It completes only where somebody types.
    need("zsh", None if shutil.which("zsh") else "this host has no zsh")
    terminal = Terminal(40, 200)
    line = [*ON_TERMINAL, terminal.path, "zsh", "--no-rcs", "--interactive"]
    with subprocess.Popen(line, env=environment, start_new_session=True) as process:
        terminal.type("PS1='ready$ '; autoload -U compinit && compinit -D\n")
        terminal.type(f'eval "$(_{variable(called)}_COMPLETE=source_zsh {called})"; echo it is "set"\n')
        terminal.until("it is set")
        terminal.type(f"{called} inspect completed-\t")
        terminal.until("completed-one")
        process.kill()
    terminal.close()
