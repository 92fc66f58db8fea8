"""A sandbox that was given no command: what idles in it is the orchestrator's own, not the image's."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from pathlib import Path

from inside import run_in
from layouts import busybox

from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.runtimes import Limits
from flash_sandbox.orchestrator.runtimes.bubblewrap import BubblewrapRuntime
from flash_sandbox.orchestrator.sandboxing import idle
from flash_sandbox.orchestrator.sandboxing.bwrap import Bubblewrap


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
        await runtime.start("one", StartRequest(image=str(image)), lambda code: None)
        shown = await run_in(runtime, "one", "/bin/busybox", "cat", "/proc/2/cmdline")
        assert shown.stdout == "idle\0"
    finally:
        await runtime.close()


def test_a_program_that_a_sandbox_has_changed_is_made_anew(tmp_path: Path) -> None:
    tools = Bubblewrap(tmp_path / "tools")
    path = tools.idler
    path.chmod(0o755)
    path.write_bytes(b"changed")
    assert tools.idler == path
    assert path.read_bytes() == idle.program(platform.machine())
