"""How many connections a client has where each carries one call at a time."""

from __future__ import annotations

from typing import Final

__all__ = ["MOST_CONNECTIONS", "MOST_IDLE"]

MOST_CONNECTIONS: Final = 1000
"""As many calls at a time as the orchestrator takes over one gRPC connection: the next one waits."""

MOST_IDLE: Final = 100
"""More than this are closed rather than kept for the next call."""
