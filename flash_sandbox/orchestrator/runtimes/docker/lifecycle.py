"""The life of one container: made, started, waited for, removed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ....errors import InternalServerError, InvalidArgumentError, Reason, SandboxError, UnsupportedError
from ...cancellation import completed
from .api import Engine, EngineError, EngineMissing
from .containers import Container, refused_limits

__all__ = [
    "KILLED",
    "Running",
    "create",
    "exit_code",
    "halt",
    "remove",
    "running_container",
    "start",
]

KILLED: Final = 137
"""Exit status of a main process that SIGKILL ended."""

_REMOVAL_SECONDS: Final = 30.0
_ENGINE_BACK_SECONDS: Final = (0.5, 30.0)


@dataclass(frozen=True, slots=True)
class Running:
    """What is known of a container that runs.

    Attributes:
        init: Process ID of the agent on the engine's host; 0 where it does not run.
        image_digest: ID of the container's image in the engine.
    """

    init: int
    image_digest: str


def running_container(inspected: Mapping[str, Any]) -> Running:
    """Return what the engine's answer to ``GET /containers/ID/json`` tells."""
    return Running(int(inspected["State"].get("Pid") or 0), str(inspected.get("Image", "")))


async def create(engine: Engine, container: Container) -> str:
    """Make a container and return its full ID.

    Whatever happens, `remove` by its name leaves nothing behind.

    Raises:
        InvalidArgumentError: If there is no such image, or a limit is out of the engine's range.
        UnsupportedError: If the engine does not grant the limits.
    """
    try:
        created = await completed(
            engine.call("POST", "/containers/create", container.body(), query={"name": container.name})
        )
    except EngineError as error:
        raise _create_error(container, error) from error
    container_id = str(created["Id"])
    refused = refused_limits(container, await engine.call("GET", f"/containers/{container_id}/json"))
    if refused:
        raise UnsupportedError(f"Docker Engine does not enforce these limits: {', '.join(refused)}")
    return container_id


async def start(engine: Engine, container_id: str) -> Running:
    """Start a container, of which the agent is the first process.

    Raises:
        InternalServerError: If the engine fails.
    """
    try:
        await completed(engine.call("POST", f"/containers/{container_id}/start"))
    except EngineError as error:
        raise InternalServerError(f"Docker Engine cannot start the sandbox: {error.message}") from error
    return running_container(await engine.call("GET", f"/containers/{container_id}/json"))


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


def _create_error(container: Container, error: EngineError) -> SandboxError:
    if error.status == 404:
        # It was there a moment ago.
        return InvalidArgumentError(
            f"image {container.image!r}: {error.message}", reason=Reason.IMAGE_NOT_FOUND
        )
    if container.request.disk_mb and "storage-opt" in error.message:
        return UnsupportedError(f"disk_mb cannot be enforced: Docker Engine: {error.message}")
    if error.status != 400:
        return InternalServerError(f"Docker Engine cannot make the sandbox: {error.message}")
    return InvalidArgumentError(f"Docker Engine refuses the sandbox: {error.message}")
