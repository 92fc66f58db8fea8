"""The images that starts may name: those of the engine that the operator allows, and what it pulls."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from time import monotonic
from typing import Any, Final

from ....errors import InvalidArgumentError, Reason, SandboxError, UnavailableError
from ...images.engine import SNAPSHOT_LABEL
from ...images.references import Kind, Reference
from .api import Engine, EngineError

__all__ = ["SNAPSHOT_REPOSITORY", "Event", "Puller", "checked_name"]

Event = Callable[..., None]
"""Writes a line of the log: a name, and fields by name."""

SNAPSHOT_REPOSITORY: Final = "flash-sandbox/snapshot"
"""Where the images of snapshots lie in the engine."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}", re.ASCII)
_PROGRESS_SECONDS: Final = 5.0
# What registries and the engine say of an image that is not there, or that this caller may not see.
_ABSENT: Final = (
    "not found",
    "manifest unknown",
    "does not exist",
    "access denied",
    "unauthorized",
    "denied:",
)


def checked_name(image: str) -> str:
    """Return the name of an image; raise InvalidArgumentError for one that no start may name."""
    if image == "host" or image.startswith("/"):
        raise _not_found(image, "Docker Engine starts from a reference such as alpine:latest")
    if not _NAME.fullmatch(image):
        raise _not_found(image[:200], "that is no image reference")
    if SNAPSHOT_REPOSITORY in image:
        raise _not_found(image, "name the snapshot as snapshot_path")
    return image


class Puller:
    """Finds the images of starts in an engine, or pulls them without any login.

    Args:
        engine: The engine.
        registries: Patterns of the registries whose images may be started, as an `ImageStore` takes them;
            ``docker-daemon`` for every image that the engine has.
        event: Writes a line of the log.
    """

    def __init__(self, engine: Engine, registries: Sequence[str], event: Event) -> None:
        self._engine = engine
        self._registries = tuple(registries)
        self._event = event

    async def image_id(self, image: str) -> str:
        """Return the ID of the image that a name means, pulled first where the engine lacks it.

        Raises:
            InvalidArgumentError: If there is no such image, or the operator does not allow it.
            UnavailableError: If the registry cannot be reached or breaks off.
        """
        found = await self._find(image)
        if found is None:
            await self._pull(image)
            found = await self._find(image)
        if found is None:
            raise _not_found(image, "it is not there after it was pulled")
        return found

    async def _find(self, image: str) -> str | None:
        """Return the ID of an image of the engine; None where the engine lacks it."""
        try:
            inspected: Mapping[str, Any] = await self._engine.call("GET", f"/images/{image}/json")
        except EngineError as error:
            if error.status == 404:
                return None
            if error.status == 400:
                raise _not_found(image, error.message) from error
            raise
        self._require_startable(image, inspected)
        return str(inspected["Id"])

    def _require_startable(self, image: str, inspected: Mapping[str, Any]) -> None:
        """Refuse an image of the engine that no allowed registry's name leads to.

        The engine takes the beginning of an ID for a name, too. So a name counts only where the image that
        was found has it; any other must have an allowed name of its own.
        """
        if SNAPSHOT_LABEL in ((inspected.get("Config") or {}).get("Labels") or {}):
            raise _not_found(image, "that is a snapshot's: name the snapshot as snapshot_path")
        if self._is_allowed(Kind.DOCKER_DAEMON):
            return
        names = _references(*(inspected.get("RepoTags") or ()), *(inspected.get("RepoDigests") or ()))
        asked = [_without_needless_tag(reference) for reference in _references(image)]
        if any(map(self._allows, [name for name in asked if name in names] or names)):
            return
        allowed = ", ".join(self._registries) or "none"
        raise _not_found(
            image,
            f"Docker Engine has it, but this orchestrator starts images of {allowed} only; its operator may "
            f"allow its registry with --allow-registry, or all that the engine has with --allow-registry "
            f"{Kind.DOCKER_DAEMON}",
        )

    async def _pull(self, image: str) -> None:
        """Pull an image, as Docker resolves its name, and write the progress to the log."""
        if image.startswith("sha256:"):
            raise _not_found(image, "the engine has no image with this ID")
        reference = Reference.parse(image)
        if not self._allows(reference):
            registry, allowed = reference.registry, ", ".join(self._registries) or "none"
            raise _not_found(
                image,
                f"the engine lacks it, and this orchestrator does not pull from {registry} (but from: "
                f"{allowed}); its operator may allow it with --allow-registry {registry}",
            )
        repository = f"{reference.registry}/{reference.repository}"
        # Without a tag the engine would pull all there are.
        query = {"fromImage": repository, "tag": reference.digest or reference.tag}
        progress = _Progress(image, self._event)
        try:
            async with self._engine.stream("POST", "/images/create", query=query) as response:
                async for line in response.aiter_lines():
                    if line.strip():
                        progress.take(json.loads(line))
        except EngineError as error:
            raise _pull_error(image, error.message) from error
        except ValueError as error:
            raise UnavailableError(f"image {image!r} cannot be pulled: the engine broke off") from error
        progress.finish()

    def _allows(self, reference: Reference) -> bool:
        repository = f"{reference.registry}/{reference.repository}"
        return self._is_allowed(reference.registry) or self._is_allowed(repository)

    def _is_allowed(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._registries)


def _references(*names: str) -> list[Reference]:
    """Return what is a registry's reference of some names of an image."""
    found = []
    for name in names:
        with suppress(InvalidArgumentError):
            found.append(Reference.parse(name))
    return found


def _without_needless_tag(reference: Reference) -> Reference:
    """Return a reference as the engine reads it: beside a digest, a tag says nothing."""
    return replace(reference, tag="") if reference.digest else reference


class _Progress:
    """Sums up the engine's messages, of which there are many for each layer."""

    def __init__(self, image: str, event: Event) -> None:
        self._image = image
        self._event = event
        self._layers: dict[str, tuple[int, int]] = {}
        self._begun = self._written = monotonic()
        event("image pull", image=image, step="begun")

    def take(self, message: dict[str, Any]) -> None:
        """Take one message of the engine."""
        if "error" in message:
            raise _pull_error(self._image, str(message["error"]))
        detail = message.get("progressDetail") or {}
        if message.get("status") == "Downloading" and "total" in detail:
            self._layers[str(message.get("id"))] = (int(detail.get("current", 0)), int(detail["total"]))
        elif message.get("status") in ("Download complete", "Pull complete"):
            _, total = self._layers.get(str(message.get("id")), (0, 0))
            self._layers[str(message.get("id"))] = (total, total)
        if monotonic() - self._written > _PROGRESS_SECONDS:
            self._write("downloading")

    def finish(self) -> None:
        """Write that all is there."""
        self._write("complete")

    def _write(self, step: str) -> None:
        self._written = monotonic()
        done, total = (sum(layer[index] for layer in self._layers.values()) for index in (0, 1))
        seconds = round(self._written - self._begun, 3)
        self._event("image pull", image=self._image, step=step, bytes=done, of=total, seconds=seconds)


def _pull_error(image: str, message: str) -> SandboxError:
    if any(sign in message.lower() for sign in _ABSENT) or "invalid reference" in message:
        return _not_found(image, message)
    return UnavailableError(f"image {image!r} cannot be pulled: {message}")


def _not_found(image: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"image {image!r}: {why}", reason=Reason.IMAGE_NOT_FOUND)
