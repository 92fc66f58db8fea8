"""Images of the local Docker Engine, as its API exports them."""

from __future__ import annotations

import os
from typing import IO, Any, Final, Self
from urllib.parse import quote

import httpx

from ...errors import UnavailableError
from .references import not_usable

__all__ = ["SNAPSHOT_LABEL", "Engine"]

SNAPSHOT_LABEL: Final = "flash-sandbox.snapshot"
"""Label of the images that hold snapshots of sandboxes: they are no images for starts."""

_SOCKET: Final = "unix:///var/run/docker.sock"
_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0, read=600.0)


class Engine:
    """The Docker Engine of ``$DOCKER_HOST``, or of its usual socket, as an async context manager.

    Args:
        name: Name or ID of an image there.
        address: ``unix:///PATH`` or ``tcp://HOST:PORT``; empty for the default.
    """

    def __init__(self, name: str, address: str = "") -> None:
        self._name = name
        self._address = address or os.environ.get("DOCKER_HOST") or _SOCKET
        scheme, _, rest = self._address.partition("://")
        transport = httpx.AsyncHTTPTransport(uds=rest) if scheme == "unix" else None
        self._client = httpx.AsyncClient(
            transport=transport,
            base_url="http://docker" if scheme == "unix" else f"http://{rest}",
            timeout=_TIMEOUT,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._client.__aexit__()

    async def image_id(self) -> str:
        """Return the digest of the image's configuration.

        Raises:
            InvalidArgumentError: If the engine has no such image, or it is a snapshot of a sandbox.
            UnavailableError: If it does not answer.
        """
        try:
            response = await self._client.get(f"/images/{quote(self._name, safe='/:@')}/json")
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.status_code != 200:
            raise not_usable(f"docker-daemon:{self._name}", f"Docker Engine: {_message(response)}")
        image = response.json()
        if SNAPSHOT_LABEL in ((image.get("Config") or {}).get("Labels") or {}):
            raise not_usable(f"docker-daemon:{self._name}", "that is a snapshot's")
        return str(image.get("Id", ""))

    async def export(self, file: IO[bytes], most: int) -> None:
        """Write the image as ``docker save`` does.

        Args:
            file: Where to.
            most: Bytes that it may have.

        Raises:
            InvalidArgumentError: If the engine has no such image.
            UnavailableError: If it does not answer.
        """
        try:
            path = f"/images/{quote(self._name, safe='/:@')}/get"
            async with self._client.stream("GET", path) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise not_usable(f"docker-daemon:{self._name}", f"Docker Engine: {_message(response)}")
                async for chunk in response.aiter_raw():
                    file.write(chunk)
                    if file.tell() > most:
                        raise not_usable(f"docker-daemon:{self._name}", f"it is larger than {most} bytes")
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"Docker Engine not reachable at {self._address}: {error}")


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {response.status_code}"
