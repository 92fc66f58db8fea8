"""A sandbox that was given no command: the guest agent is all that runs in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from inside import begin, run_in, wait_until
from layouts import busybox

from flash_sandbox import HTTPClient, Sandbox
from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator import Orchestrator
from flash_sandbox.orchestrator.guest.program import agent_program
from flash_sandbox.orchestrator.runtimes.bubblewrap.bwrap import Bubblewrap, installed_program
from flash_sandbox.orchestrator.runtimes.bubblewrap.runtime import BubblewrapRuntime
from flash_sandbox.orchestrator.runtimes.catalogue import Limits


async def test_an_image_without_tail_idles(
    tmp_path: Path, limits: Limits, need: Callable[[str, str | None], None]
) -> None:
    program = busybox()
    need(
        "busybox",
        None if program else "there is no static busybox (on Debian: apt-get install busybox-static)",
    )
    assert program is not None
    image = tmp_path / "rootfs" / "small"
    for name in ("bin", "proc", "dev", "tmp"):
        (image / name).mkdir(parents=True)
    shutil.copy(program, image / "bin" / "busybox")
    runtime = BubblewrapRuntime(tmp_path, limits=limits)
    await runtime.open()
    try:
        await begin(runtime, "one", StartRequest(image=str(image)))
        shown = await run_in(runtime, "one", "/bin/busybox", "cat", "/proc/1/cmdline")
        assert shown.stdout.startswith("agent\0")
    finally:
        await runtime.close()


def test_nothing_else_is_there_and_nothing_in_it_can_end_it(orchestrator: Orchestrator) -> None:
    with HTTPClient(address=orchestrator.http_address) as client, Sandbox.create(client=client) as sandbox:
        script = "kill -9 1; kill -TERM 1; kill -STOP 1; for p in /proc/[0-9]*; do echo ${p#/proc/}; done"
        assert sandbox.exec_command(script).stdout.split()[:1] == ["1"]
        assert sandbox.get_metrics().pids_current <= 2
        assert sandbox.exec_command("cat /proc/1/cmdline").stdout.startswith("agent\0")


def test_it_reaps_what_loses_its_parent(orchestrator: Orchestrator) -> None:
    with HTTPClient(address=orchestrator.http_address) as client, Sandbox.create(client=client) as sandbox:
        # The first shell ends at once, and what it leaves behind some time later.
        sandbox.exec_command("for n in 1 2 3; do (sleep 0.$n; exit 3) > /dev/null 2>&1 & done")
        script = "cat /proc/[0-9]*/stat 2> /dev/null | cut -d ' ' -f 2,3"
        wait_until(lambda: "sleep" not in sandbox.exec_command(script).stdout, "the processes to end")
        assert "Z" not in sandbox.exec_command(script).stdout


def test_a_program_that_a_sandbox_has_changed_is_made_anew(tmp_path: Path) -> None:
    tools = Bubblewrap(tmp_path / "tools")
    for program, installed in ((tools.agent, agent_program()), (tools.path, installed_program())):
        program.chmod(0o755)
        program.write_bytes(b"changed")
        assert program in (tools.agent, tools.path)
        assert program.read_bytes() == installed.read_bytes()
