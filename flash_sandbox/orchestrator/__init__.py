"""The orchestrator: one service core, two front doors, and the runtimes that run sandboxes.

It needs the extra ``flash-sandbox[orchestrator]`` and Linux; nothing in the client half imports it.
"""

from __future__ import annotations

from .embedded import Orchestrator, running_orchestrator

__all__ = ["Orchestrator", "running_orchestrator"]
