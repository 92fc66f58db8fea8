"""Drives an orchestrator with the generated gRPC client alone: ADDRESS KEY, answers JSON on stdout."""

import asyncio
import json
import sys

from flash_sandbox_grpc import ExecRequest, SandboxServiceStub, StartRequest, StatusRequest, StopRequest
from grpclib.client import Channel
from grpclib.exceptions import GRPCError


async def main(address: str, key: str) -> None:
    host, _, port = address.rpartition(":")
    async with Channel(host, int(port)) as channel:
        stub = SandboxServiceStub(channel, metadata={"authorization": f"Bearer {key}"}, timeout=30)
        sandbox = (await stub.start_sandbox(StartRequest(type="bubblewrap"))).id
        executed = await stub.exec_command(
            ExecRequest(id=sandbox, command=["sh", "-c", "echo hello; exit 3"])
        )
        status = await stub.get_status(StatusRequest(id=sandbox))
        await stub.stop_sandbox(StopRequest(id=sandbox))
        try:
            await stub.get_status(StatusRequest(id=sandbox))
        except GRPCError as error:
            gone = error.status.name
        else:
            gone = "still there"
    print(
        json.dumps(
            {
                "stdout": executed.stdout,
                "exit_code": executed.exit_code,
                "status": status.status,
                "gone": gone,
                "modules": sorted(sys.modules),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
