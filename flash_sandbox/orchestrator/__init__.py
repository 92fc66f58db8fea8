"""The orchestrator: one service core, two front doors, and the runtimes that run sandboxes.

It needs the extra ``flash-sandbox[orchestrator]`` and Linux; nothing in the client half imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .embedded import Orchestrator, running_orchestrator

__all__ = ["Orchestrator", "running_orchestrator"]


def __getattr__(name: str) -> object:
    # Loaded where it is used: the orchestrator's small processes need none of it.
    if name not in __all__:
        raise AttributeError(name)
    from . import embedded

    return getattr(embedded, name)
