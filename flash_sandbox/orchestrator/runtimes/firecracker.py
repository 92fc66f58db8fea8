"""Firecracker microVMs: Kata Containers' runtime for them, looked for in Docker Engine's list."""

from __future__ import annotations

import json
from typing import Final

from .docker import ask_engine, engine_host
from .not_driven import Missing, UndrivenRuntime

__all__ = ["FirecrackerRuntime"]

# The names under which Kata Containers registers its Firecracker configuration.
_ENGINE_RUNTIMES: Final = ("kata-fc", "io.containerd.kata-fc.v2")


class FirecrackerRuntime(UndrivenRuntime):
    """Sandboxes as microVMs. This release finds the engine's runtime for them, but does not drive it."""

    name = "firecracker"

    async def find(self) -> str:
        """Return which of the engine's runtimes boots Firecracker; raise `Missing` where none does."""
        response = await ask_engine("info")
        try:
            known = json.loads(response.content).get("Runtimes") or {}
        except (ValueError, AttributeError):
            known = {}
        for name in _ENGINE_RUNTIMES:
            if name in known:
                return f"the engine's runtime {name} at {engine_host()}"
        listed = ", ".join(sorted(known)) or "none"
        raise Missing(
            f"Docker Engine at {engine_host()} has no runtime that boots Firecracker (it lists {listed})",
            "install Kata Containers and register kata-fc in /etc/docker/daemon.json; it needs /dev/kvm",
        )
