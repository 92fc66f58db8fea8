"""Calls `echo`, an operation of a copy of the repository, by every client; prints one line of JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import flash_sandbox
from flash_sandbox.orchestrator import running_orchestrator


async def called(client: Any) -> str:
    async with client:
        return str(await client.echo("any", "ab", times=2))


def refused(client: Any) -> str:
    with client:
        try:
            client.echo("any", "ab", times=11)
        except flash_sandbox.InvalidArgumentError as error:
            return error.detail
    return ""


def main() -> None:
    with running_orchestrator(limits="best-effort") as orchestrator:
        http, grpc = orchestrator.http_address, orchestrator.grpc_address
        with (
            flash_sandbox.HTTPClient(address=http) as over_http,
            flash_sandbox.SandboxClient(address=grpc) as over_grpc,
        ):
            said: dict[str, object] = {
                "HTTPClient": over_http.echo("any", "ab", times=2),  # type: ignore[attr-defined, unused-ignore]
                "SandboxClient": over_grpc.echo("any", "ab", times=2),  # type: ignore[attr-defined, unused-ignore]
            }
        said["AsyncHTTPClient"] = asyncio.run(called(flash_sandbox.AsyncHTTPClient(address=http)))
        said["AsyncSandboxClient"] = asyncio.run(called(flash_sandbox.AsyncSandboxClient(address=grpc)))
        said["refused"] = refused(flash_sandbox.HTTPClient(address=http))
    print(json.dumps({"from": flash_sandbox.__file__, "said": said}))


main()
