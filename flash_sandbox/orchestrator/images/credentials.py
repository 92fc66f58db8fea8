"""Who to be at a registry: what ``docker login`` wrote down, or what the environment says."""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["AUTH_VARIABLE", "Credentials", "Login"]

AUTH_VARIABLE: Final = "FLASH_SANDBOX_REGISTRY_AUTH"
"""Environment variable with a JSON document like that of ~/.docker/config.json, or the path of one."""

# Docker keeps its own registry under this old name.
_DOCKER_HUB_KEY: Final = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """User and password; neither shows in logs and tracebacks."""

    user: str
    password: str

    @property
    def header(self) -> str:
        """Value of the ``authorization`` header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class Credentials:
    """The logins that this process may use, by registry. Read anew each time: a login may be renewed."""

    def find(self, registry: str) -> Login | None:
        """Return the login for a registry such as ``docker.io``, or None.

        Raises:
            ValueError: If what was configured cannot be read; the text says where, not what.
        """
        auths = _load().get("auths")
        if not isinstance(auths, dict):
            return None
        keys = (registry, f"https://{registry}", f"https://{registry}/", f"http://{registry}")
        for key in (*keys, _DOCKER_HUB_KEY) if registry == "docker.io" else keys:
            entry = auths.get(key)
            if isinstance(entry, dict) and (login := _login(entry)) is not None:
                return login
        return None


def _load() -> dict[str, object]:
    configured = os.environ.get(AUTH_VARIABLE, "")
    if configured.lstrip().startswith("{"):
        return _parse(configured, f"${AUTH_VARIABLE}")
    if configured:
        path = Path(configured)
    else:
        directory = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
        path = Path(directory) / "config.json"
        if not path.is_file():
            return {}
    try:
        return _parse(path.read_text(), str(path))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def _parse(text: str, where: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError:
        # Without its cause, which would quote what may be a password.
        raise ValueError(f"{where} is not a JSON document") from None
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not a JSON object")
    return value


def _login(entry: dict[str, object]) -> Login | None:
    user, password = entry.get("username"), entry.get("password")
    if isinstance(user, str) and isinstance(password, str) and user:
        return Login(user, password)
    encoded = entry.get("auth")
    if not isinstance(encoded, str) or not encoded:
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Login(user, password.rstrip("\0")) if colon else None
