"""Sandboxes that an orchestrator before has left in the database."""

from __future__ import annotations

import json
from typing import Any

from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.core import rows
from flash_sandbox.orchestrator.core.sandboxes import Sandbox, State
from flash_sandbox.orchestrator.core.service import SandboxService
from flash_sandbox.orchestrator.guest.guest import Defaults
from flash_sandbox.orchestrator.runtimes.base import Created, Kept, Runtime


def leave(
    service: SandboxService,
    runtime: Runtime,
    created: Created,
    sandbox_id: str,
    state: str = "running",
    request: StartRequest | None = None,
    **more: Any,
) -> None:
    """Write a sandbox into the database of a service that was not opened yet."""
    sandbox = Sandbox(runtime, request or StartRequest(), service.events, id=sandbox_id, **more)
    sandbox.created, sandbox.state = created, State(state)
    service.database.note(rows.added(sandbox), rows.started(sandbox), rows.changed(sandbox))


def kept_from(text: str) -> Kept:
    """Return what `json.dumps(asdict(kept))` made a text of."""
    fields = json.loads(text)
    created = fields.pop("created")
    defaults, command = Defaults(**created.pop("defaults")), tuple(created.pop("command"))
    request = StartRequest(**fields.pop("request"))
    return Kept(request=request, created=Created(defaults=defaults, command=command, **created), **fields)
