"""Getting an image that the engine does not have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from time import monotonic
from typing import Any, Final

from ...errors import InvalidArgumentError, Reason, SandboxError, UnavailableError
from ..images.references import Reference
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
    """Gets images for an engine, without any login.

    Args:
        engine: The engine.
        registries: Patterns of the registries that may be pulled from, as an `ImageStore` takes them.
        event: Writes a line of the log.
    """

    def __init__(self, engine: Engine, registries: Sequence[str], event: Event) -> None:
        self._engine = engine
        self._registries = tuple(registries)
        self._event = event

    async def pull(self, image: str) -> None:
        """Pull an image, as Docker resolves its name, and write the progress to the log.

        Raises:
            InvalidArgumentError: If there is no such image, its registry shows it to nobody unknown, or may
                not be pulled from.
            UnavailableError: If the registry cannot be reached or breaks off.
        """
        if image.startswith("sha256:"):
            raise _not_found(image, "the engine has no image with this ID")
        reference = Reference.parse(image)
        self._require_allowed(image, reference)
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

    def _require_allowed(self, image: str, reference: Reference) -> None:
        names = (reference.registry, f"{reference.registry}/{reference.repository}")
        if not any(fnmatchcase(name, pattern) for name in names for pattern in self._registries):
            registry, allowed = reference.registry, ", ".join(self._registries) or "none"
            raise _not_found(
                image,
                f"the engine lacks it, and this orchestrator does not pull from {registry} (but from: "
                f"{allowed}); its operator may allow it with --allow-registry {registry}, or docker pull it",
            )


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
