"""Start a sandbox from a directory that somebody exchanges once it was looked at.

``exchanged_image.py RUNTIME STATE_DIR IMAGE [OTHER]``: with OTHER, a link to that takes the place of IMAGE.
Prints the file ``etc/motd`` as the sandbox has it, or why there is no sandbox.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from inside import begin, run_in

from flash_sandbox import SandboxError
from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.images.rootfs import Images, RootFilesystem
from flash_sandbox.orchestrator.runtimes.bubblewrap.runtime import BubblewrapRuntime
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime


class Exchanging(Images):
    """Images, and a link to another directory in the place of one, right after that was looked at."""

    other = ""

    async def resolve(self, image: str) -> RootFilesystem:
        root = await super().resolve(image)
        if self.other:
            Path(image).rename(f"{image}.old")
            os.symlink(self.other, image)
        return root


async def main(name: str, state_dir: Path, image: str, other: str = "") -> None:
    images = Exchanging(state_dir / "images", [Path(image).parent])
    images.other = other
    runtime: BubblewrapRuntime | GvisorRuntime
    if name == "gvisor":
        runtime = GvisorRuntime(state_dir, images=images)
    else:
        runtime = BubblewrapRuntime(state_dir, images=images, limits="best-effort")
    await runtime.open()
    try:
        await begin(runtime, "one", StartRequest(image=image))
        print((await run_in(runtime, "one", "/bin/cat", "/etc/motd")).stdout, end="")
    except SandboxError as error:
        print("refused:", error)
    finally:
        await runtime.close()


asyncio.run(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
