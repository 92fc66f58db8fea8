"""``exec`` and ``run``: a command in a sandbox that is there, or in one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import typer

from ..errors import NotFoundError, SandboxError
from .connection import PATIENCE_SECONDS, Connection, complain, reporting
from .execution import Execution, followed
from .names import in_sandbox_async
from .options import (
    Address,
    Allow,
    ApiKey,
    AsJsonLines,
    CpuCores,
    Deny,
    DiskMb,
    Env,
    Image,
    Interactive,
    Labels,
    Limit,
    MemoryMb,
    Name,
    NetworkName,
    Pids,
    SandboxId,
    Secrets,
    ShmMb,
    Transport,
    Tty,
    Type,
    User,
    Volumes,
    Words,
    Workdir,
    network_of,
    secrets_of,
)

if TYPE_CHECKING:
    from ..clients.aio.client import AsyncHTTPClient, AsyncSandboxClient

__all__ = ["exec_command", "run_command"]

# A sandbox whose command line was killed goes once its time is over, which nobody sets anew then.
_LEASE_SECONDS: Final = 60.0


def exec_command(
    sandbox_id: SandboxId,
    command: Words,
    interactive: Interactive = False,
    tty: Tty = False,
    env: Env = None,
    workdir: Workdir = "",
    user: User = "",
    limit: Limit = None,
    as_json: AsJsonLines = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Run a command in a sandbox, and end as it does.

    The exit status is the command's own, 128 + N where signal N ended it, and 125 where it could not be
    run or followed at all. Ctrl-C ends it with all that it started; with -it it is typed into its terminal.
    """
    execution = Execution("exec", _words(command), env or [], workdir, user, interactive, tty, limit, as_json)

    async def work() -> int:
        async with connection.async_client() as client:
            return await in_sandbox_async(client, sandbox_id, lambda found: execution.run(client, found))

    with reporting("exec"):
        connection = Connection(transport, address, api_key)
        execution.require_possible()
        code = followed(work())
    raise typer.Exit(code)


def run_command(
    command: Words,
    image: Image = "",
    type: Type = "auto",
    memory_mb: MemoryMb = None,
    cpu_cores: CpuCores = None,
    pids: Pids = None,
    shm_mb: ShmMb = None,
    disk_mb: DiskMb = None,
    volumes: Volumes = None,
    network: NetworkName = None,
    network_allow: Allow = None,
    network_deny: Deny = None,
    secrets: Secrets = None,
    name: Name = "",
    labels: Labels = None,
    interactive: Interactive = False,
    tty: Tty = False,
    env: Env = None,
    workdir: Workdir = "",
    user: User = "",
    limit: Limit = None,
    as_json: AsJsonLines = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Run a command in a sandbox of its own, which is removed with its end, and end as it does.

    Where no orchestrator is named and none answers on this machine, one is started for as long as that takes.
    The exit status is the command's own, 128 + N where signal N ended it, and 125 where it could not be
    run or followed at all.
    """
    execution = Execution("run", _words(command), env or [], workdir, user, interactive, tty, limit, as_json)
    asked = {
        "type": type,
        "image": image,
        "memory_mb": memory_mb,
        "cpu_cores": cpu_cores,
        "pids": pids,
        "shm_mb": shm_mb,
        "disk_mb": disk_mb,
        "volumes": volumes,
        "network": network_of(network, network_allow, network_deny),
        "network_allow": network_allow,
        "network_deny": network_deny,
        "secrets": secrets_of(secrets),
        "name": name,
        "labels": labels,
    }
    with reporting("run"):
        execution.require_possible()
        connection = Connection(transport, address, api_key).or_own(
            told=lambda why: None if as_json else complain("run", why)
        )
        code = followed(_in_its_own(connection, asked, execution))
    raise typer.Exit(code)


async def _in_its_own(connection: Connection, asked: dict[str, Any], execution: Execution) -> int:
    async with connection.async_client() as client:
        sandbox_id = await client.start_sandbox(**asked, ttl_seconds=_LEASE_SECONDS, timeout=PATIENCE_SECONDS)
        try:
            async with _kept_alive(client, sandbox_id):
                return await execution.run(client, sandbox_id)
        finally:
            with suppress(NotFoundError):
                await client.stop_sandbox(sandbox_id, timeout=PATIENCE_SECONDS)


@asynccontextmanager
async def _kept_alive(client: AsyncHTTPClient | AsyncSandboxClient, sandbox_id: str) -> AsyncIterator[None]:
    """Set the sandbox's time anew for the length of a block."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(_LEASE_SECONDS / 3)
            # The next one may succeed; orchestrators that know of no time to live need none.
            with suppress(SandboxError):
                await client.keep_alive(sandbox_id, _LEASE_SECONDS)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.wait({renewing})


def _words(command: list[str]) -> list[str]:
    return command[1:] if command[:1] == ["--"] else command
