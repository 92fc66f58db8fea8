"""Docker Engine: looked for at its socket."""

from __future__ import annotations

import os
from typing import Any, Final

import httpx

from .not_driven import Missing, UndrivenRuntime

__all__ = ["DockerRuntime", "ask_engine"]

_DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_TIMEOUT_SECONDS: Final = 2.0


class DockerRuntime(UndrivenRuntime):
    """Sandboxes as containers of Docker Engine. This release finds the engine, but does not drive it."""

    name = "docker"

    async def find(self) -> str:
        """Return the engine's version; raise `Missing` where none answers."""
        response = await ask_engine("_ping")
        version = response.headers.get("api-version", "unknown")
        return f"Docker Engine with API {version} at {engine_host()}"


def engine_host() -> str:
    """Return where the engine is: ``$DOCKER_HOST``, or its usual socket."""
    return os.environ.get("DOCKER_HOST") or _DEFAULT_HOST


async def ask_engine(path: str) -> httpx.Response:
    """Ask the engine for a path of its API; raise `Missing` where it does not answer with 200."""
    host = engine_host()
    scheme, _, place = host.partition("://")
    if scheme not in ("unix", "tcp", "http"):
        raise Missing(
            f"Docker Engine is named by DOCKER_HOST={host}, which is no unix:// or tcp:// address",
            "set DOCKER_HOST to the engine's unix:// socket, or unset it",
        )
    options: dict[str, Any] = {"uds": place} if scheme == "unix" else {}
    base = "http://docker" if scheme == "unix" else f"http://{place}"
    try:
        transport = httpx.AsyncHTTPTransport(**options)
        async with httpx.AsyncClient(transport=transport, base_url=base, timeout=_TIMEOUT_SECONDS) as client:
            response = await client.get(f"/{path}")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        if isinstance(error.__cause__ or error, PermissionError) or "Permission denied" in str(error):
            raise Missing(
                f"Docker Engine at {host} may not be used by this user", "add the user to the docker group"
            ) from None
        raise Missing(
            f"Docker Engine not reachable at {host}",
            "install docker.io and start its service, or set DOCKER_HOST",
        ) from None
    if response.status_code != 200:
        raise Missing(
            f"what answers at {host} with HTTP {response.status_code} is no Docker Engine",
            "set DOCKER_HOST to the engine's address, or unset it",
        )
    return response
