"""The life of one container: made, started, waited for, removed."""

from __future__ import annotations

import asyncio
import io
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ...errors import InternalServerError, InvalidArgumentError, Reason, SandboxError, UnsupportedError
from ..completion import completed
from ..images.manifests import ImageConfig
from ..sandboxing import idle, privileges
from ..sandboxing.main_process import main_command
from .api import Engine, EngineError, EngineMissing
from .commands import is_about_user, why_not_run
from .containers import Container, refused_limits
from .output import printed
from .processes import on_this_host

__all__ = [
    "KILLED",
    "Running",
    "create",
    "exit_code",
    "halt",
    "image_config",
    "remove",
    "running_container",
    "start",
]

KILLED: Final = 137
"""Exit status of a main process that SIGKILL ended."""

# What docker-init (tini) prints; https://github.com/krallin/tini, spawn_process.
_INIT_FAILURE: Final = re.compile(r"\[FATAL tini \(\d+\)\] (exec .* failed: .*)")
_START_SECONDS: Final = 30.0
_NOTICE_SECONDS: Final = 0.5
_REMOVAL_SECONDS: Final = 30.0
_ENGINE_BACK_SECONDS: Final = (0.5, 30.0)


@dataclass(frozen=True, slots=True)
class Running:
    """What is known of a container that runs.

    Attributes:
        init: Process ID of its init on the engine's host; 0 where its processes are not that host's.
        image_digest: ID of its image in the engine.
        elsewhere: Whether it turned out that its processes are not this host's.
    """

    init: int
    image_digest: str
    elsewhere: bool = False


def running_container(inspected: Mapping[str, Any], *, look: bool) -> Running:
    """Return what the engine's answer to ``GET /containers/ID/json`` tells.

    Args:
        inspected: The answer.
        look: Whether its processes may be this host's.
    """
    init = int(inspected["State"].get("Pid") or 0) if look else 0
    return Running(init, str(inspected.get("Image", "")))


async def create(engine: Engine, container: Container) -> str:
    """Make a container and return its full ID.

    Whatever happens, `remove` by its name leaves nothing behind.

    Raises:
        InvalidArgumentError: If there is no such image, or a limit is out of the engine's range.
        UnsupportedError: If the engine does not grant the limits.
    """
    created = await _create(engine, container)
    inspected = await engine.call("GET", f"/containers/{created}/json")
    if container.idler:
        await _put(engine, created, idle.INSIDE, container.idler)
    refused = refused_limits(container, inspected)
    if refused:
        raise UnsupportedError(f"Docker Engine does not enforce these limits: {', '.join(refused)}")
    return created


async def start(engine: Engine, container_id: str, *, look: bool = True) -> Running:
    """Start a container; its main process runs, or has run to its end, when this returns.

    Args:
        engine: Where it is.
        container_id: Its ID.
        look: Whether its processes may be this host's.

    The engine's init runs it, and ends with status 126 or 127 where that fails. On this host its children
    tell when it has succeeded; where they cannot be seen, a failure shows as a sandbox that has ended.

    Raises:
        InvalidArgumentError: If the main process cannot be run.
        InternalServerError: If the engine fails.
    """
    try:
        await completed(engine.call("POST", f"/containers/{container_id}/start"))
    except EngineError as error:
        why = why_not_run(error.message)
        if why is not None:
            raise InvalidArgumentError(
                f"the main process cannot be run: {why[0]}", reason=Reason.START_FAILED
            ) from error
        if is_about_user(error.message):
            raise InvalidArgumentError(f"user: {error.message}") from error
        raise InternalServerError(f"Docker Engine cannot start the sandbox: {error.message}") from error
    inspected = await engine.call("GET", f"/containers/{container_id}/json")
    found = running_container(inspected, look=look)
    if on_this_host(container_id, found.init):
        await _main_process_runs(container_id, found.init)
        privileges.require_given_up(found.init)
        if on_this_host(container_id, found.init):
            return found
    elif inspected["State"]["Running"] and not (look and await _has_just_ended(engine, container_id)):
        return replace(found, init=0, elsewhere=True)
    if await exit_code(engine, container_id) in (126, 127):
        await _raise_init_failure(engine, container_id)
    return found


async def _has_just_ended(engine: Engine, container_id: str) -> bool:
    """Tell whether a container's processes are gone, which the engine may take note of only now."""
    try:
        async with asyncio.timeout(_NOTICE_SECONDS):
            await exit_code(engine, container_id)
    except TimeoutError:
        # They are there, but not on this host.
        return False
    return True


async def _main_process_runs(container_id: str, init: int) -> None:
    """Wait until a child of the engine's init runs another program than that, or init has ended."""
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while on_this_host(container_id, init) and asyncio.get_running_loop().time() < deadline:
        try:
            own = os.stat(f"/proc/{init}/exe")
            children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
            another = any(not os.path.samestat(own, os.stat(f"/proc/{child}/exe")) for child in children)
            # It may itself have been the OCI runtime still, a moment ago.
            if another and os.path.samestat(own, os.stat(f"/proc/{init}/exe")):
                return
        except PermissionError:
            return
        except OSError:
            pass
        await asyncio.sleep(0.001)


async def _raise_init_failure(engine: Engine, container_id: str) -> None:
    said = await printed(engine, container_id, stdout=False)
    why = _INIT_FAILURE.search(said.text)
    if why is not None:
        raise InvalidArgumentError(f"the main process cannot be run: {why[1]}", reason=Reason.START_FAILED)


async def halt(engine: Engine, container_id: str) -> None:
    """Kill a container, be it paused or not, and keep it; return once it has ended.

    Raises:
        EngineError: If the engine refuses.
        EngineMissing: If the engine cannot be reached.
    """
    try:
        await engine.call("POST", f"/containers/{container_id}/kill")
    except EngineError as error:
        # It has ended by itself.
        if error.status != 409:
            raise
    await exit_code(engine, container_id)


async def remove(engine: Engine, name: str) -> None:
    """Kill a container and remove it with all that it holds; return once it is gone.

    Args:
        engine: Where it is.
        name: Its name or ID. One that is not there is gone.

    Raises:
        InternalServerError: If the engine fails to remove it.
        EngineMissing: If the engine cannot be reached.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _REMOVAL_SECONDS
    pause = 0.01
    while True:
        try:
            await engine.call("DELETE", f"/containers/{name}", query={"force": "true", "v": "true"})
            return
        except EngineError as error:
            if error.status == 404:
                return
            # Somebody else removes it already, or its file system is still busy: look again.
            if loop.time() > deadline:
                raise InternalServerError(
                    f"Docker Engine cannot remove the sandbox: {error.message}"
                ) from error
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.5)


async def exit_code(engine: Engine, container_id: str) -> int:
    """Wait until a container has ended, also where the engine is away meanwhile; return its exit status."""
    pause, longest = _ENGINE_BACK_SECONDS
    while True:
        try:
            answer: dict[str, Any] | None = await engine.call(
                "POST", f"/containers/{container_id}/wait", query={"condition": "not-running"}, endless=True
            )
            if answer is not None:
                return int(answer["StatusCode"])
        except EngineError as error:
            if error.status == 404:
                return KILLED
        except EngineMissing:
            pass
        await asyncio.sleep(pause)
        pause = min(pause * 2, longest)


async def _create(engine: Engine, container: Container) -> str:
    try:
        config = ImageConfig()
        if container.request.image_command:
            config = await image_config(engine, container.image)
        container = replace(container, command=main_command(container.request, config))
        answer = await completed(
            engine.call("POST", "/containers/create", container.body(), query={"name": container.name})
        )
    except EngineError as error:
        raise _create_error(container, error) from error
    return str(answer["Id"])


async def _put(engine: Engine, container_id: str, path: str, program: bytes) -> None:
    """Put a program into a container."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size, entry.mode = len(program), 0o555
        tar.addfile(entry, io.BytesIO(program))
    await engine.call("PUT", f"/containers/{container_id}/archive", file.getvalue(), query={"path": "/"})


async def image_config(engine: Engine, image: str) -> ImageConfig:
    """Return how an image of the engine wants to be run."""
    inspected = await engine.call("GET", f"/images/{image}/json")
    config: Mapping[str, Any] = inspected.get("Config") or {}
    return ImageConfig(
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
    )


def _create_error(container: Container, error: EngineError) -> SandboxError:
    if error.status == 404:
        # It was there a moment ago.
        return InvalidArgumentError(
            f"image {container.image!r}: {error.message}", reason=Reason.IMAGE_NOT_FOUND
        )
    if error.status != 400:
        return InternalServerError(f"Docker Engine cannot make the sandbox: {error.message}")
    return InvalidArgumentError(f"Docker Engine refuses the sandbox: {error.message}")
