"""How long the beginning of a sandbox is waited for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from flash_sandbox import InternalServerError
from flash_sandbox.orchestrator.sandboxing import beginning


def test_mounts_that_never_come_are_not_taken_for_there(monkeypatch):
    async def wait() -> None:
        process = SimpleNamespace(exited=asyncio.get_running_loop().create_future())
        # No process has this number, nor mounts.
        await beginning.mounts_are_there(SimpleNamespace(process=process, init=0))

    monkeypatch.setattr(beginning, "_PATIENCE_SECONDS", 0.01)
    with pytest.raises(InternalServerError, match="not mounted in time"):
        asyncio.run(wait())
