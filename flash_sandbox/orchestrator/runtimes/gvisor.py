"""gVisor: the ``runsc`` program, looked for on PATH."""

from __future__ import annotations

import asyncio
import shutil
from typing import Final

from .not_driven import Missing, UndrivenRuntime

__all__ = ["GvisorRuntime"]

_TIMEOUT_SECONDS: Final = 5.0


class GvisorRuntime(UndrivenRuntime):
    """Sandboxes under gVisor's user-space kernel. This release finds ``runsc``, but does not drive it."""

    name = "gvisor"

    async def find(self) -> str:
        """Return the version of ``runsc``; raise `Missing` where there is none that runs."""
        program = shutil.which("runsc")
        if program is None:
            raise Missing(
                "the runsc program is not on PATH",
                "install runsc: https://gvisor.dev/docs/user_guide/install/",
            )
        process = await asyncio.create_subprocess_exec(
            program,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise Missing(f"{program} --version gave no answer", "install runsc anew") from None
        lines = output.decode("utf-8", "replace").splitlines()
        if process.returncode != 0 or not lines:
            raise Missing(f"{program} --version failed", "install runsc anew")
        return f"{lines[0].strip()} at {program}"
