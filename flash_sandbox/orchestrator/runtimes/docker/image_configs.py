"""How the engine's images want to be run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...images.manifests import ImageConfig
from .api import Engine

__all__ = ["ImageConfigs"]


class ImageConfigs:
    """Asks one engine for the configuration of images, of each once.

    Args:
        engine: Where the images are.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # By digest: what an image says never changes.
        self._known: dict[str, ImageConfig] = {}

    async def of(self, image_id: str) -> ImageConfig:
        """Return the configuration of an image.

        Args:
            image_id: Its ID, which is a digest.

        Raises:
            EngineError: If there is no such image.
            EngineMissing: If the engine cannot be reached.
        """
        if image_id not in self._known:
            inspected = await self._engine.call("GET", f"/images/{image_id}/json")
            config: Mapping[str, Any] = inspected.get("Config") or {}
            self._known[image_id] = ImageConfig(
                tuple(entry for entry in config.get("Env") or () if "=" in entry),
                tuple(config.get("Entrypoint") or ()),
                tuple(config.get("Cmd") or ()),
                config.get("WorkingDir") or "",
                config.get("User") or "",
            )
        return self._known[image_id]
