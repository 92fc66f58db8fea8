"""Which version this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["installed_version"]


def installed_version() -> str:
    """Return the version of the installed distribution; ``0+unknown`` in a bare source tree."""
    try:
        return version("flash-sandbox")
    except PackageNotFoundError:
        return "0+unknown"
