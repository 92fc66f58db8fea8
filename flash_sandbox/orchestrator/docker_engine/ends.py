"""Hearing of commands that succeeded, from the engine's own events: to ask takes a call for each command.

That call comes while the engine still clears up after the command, and so takes longer than any other.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Final

from .api import Engine, EngineError, EngineMissing
from .containers import Labels

__all__ = ["CommandEnds"]

_FILTERS: Final = json.dumps({"event": ["exec_die"], "label": [Labels.OWNER]})


class CommandEnds:
    """Listens to one engine. What is not heard, or not in time, must be asked for.

    Args:
        engine: Where the commands run.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._awaited: set[str] = set()
        self._listening: asyncio.Task[None] | None = None

    def expect(self, exec_id: str) -> None:
        """Listen for the end of a command that is about to be started. `succeeded` must follow."""
        self._awaited.add(exec_id)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())

    def succeeded(self, exec_id: str) -> bool:
        """Tell whether a command is known to have ended with status 0, and listen no longer for it."""
        if exec_id not in self._awaited:
            return True
        self._awaited.remove(exec_id)
        return False

    async def close(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})

    async def _listen(self) -> None:
        # An engine that is away, or says what is not understood, is listened to anew for the next command.
        with suppress(EngineMissing, EngineError, ValueError, KeyError):
            async with self._engine.stream("GET", "/events", query={"filters": _FILTERS}) as response:
                async for line in response.aiter_lines():
                    attributes = json.loads(line)["Actor"]["Attributes"]
                    # Any other status may also be that of a command that could not be run.
                    if attributes["exitCode"] == "0":
                        self._awaited.discard(attributes["execID"])
