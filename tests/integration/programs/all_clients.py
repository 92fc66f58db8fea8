"""Uses an orchestrator with each of the four clients: HTTP_ADDRESS GRPC_ADDRESS; prints what each saw."""

import asyncio
import sys

import flash_sandbox


def use(client: flash_sandbox.SandboxAPI) -> list[object]:
    with client, flash_sandbox.Sandbox.create(client=client, memory_mb=64) as sandbox:
        result = sandbox.exec_command(["sh", "-c", "echo hello; exit 3"])
        seen: list[object] = [result.stdout, result.exit_code, sandbox.get_status()]
        try:
            client.get_status("unknown")
        except flash_sandbox.SandboxNotFoundError as error:
            seen.append(error.reason)
        seen.append(sandbox.exec_command(["sleep", "60"], timeout=0.3).timed_out)
        with sandbox.exec_stream("echo streamed") as stream:
            seen += [frame.text for frame in stream]
    return seen


async def use_async(client: flash_sandbox.AsyncSandboxAPI) -> list[object]:
    async with client, await flash_sandbox.AsyncSandbox.create(client=client, memory_mb=64) as sandbox:
        result = await sandbox.exec_command(["sh", "-c", "echo hello; exit 3"])
        seen: list[object] = [result.stdout, result.exit_code, await sandbox.get_status()]
        try:
            await client.get_status("unknown")
        except flash_sandbox.SandboxNotFoundError as error:
            seen.append(error.reason)
        seen.append((await sandbox.exec_command(["sleep", "60"], timeout=0.3)).timed_out)
        async with await sandbox.exec_stream("echo streamed") as stream:
            seen += [frame.text async for frame in stream]
    return seen


def main(http: str, grpc: str) -> None:
    print("HTTPClient", use(flash_sandbox.HTTPClient(address=http)))
    print("SandboxClient", use(flash_sandbox.SandboxClient(address=grpc)))
    print("AsyncHTTPClient", asyncio.run(use_async(flash_sandbox.AsyncHTTPClient(address=http))))
    print("AsyncSandboxClient", asyncio.run(use_async(flash_sandbox.AsyncSandboxClient(address=grpc))))


if __name__ == "__main__":
    main(*sys.argv[1:])
