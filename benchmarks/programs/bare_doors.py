"""Servers that answer a sandbox's status and do nothing else: ``bare_doors.py http|grpc``.

Tells its address in one line, and ends at the end of its input.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvloop


async def http() -> str:
    """A starlette application with one route, served by uvicorn."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def get_status(request: Request) -> JSONResponse:
        return JSONResponse({"id": request.path_params["id"], "status": "running"})

    app = Starlette(routes=[Route("/sandboxes/{id}", get_status)])
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    tasks.append(asyncio.ensure_future(server.serve([listening])))
    return "http://{}:{}".format(*listening.getsockname())


async def grpc() -> str:
    """The generated base of a service with one method, served by grpclib."""
    import flash_sandbox_grpc
    import grpclib.server

    class Service(flash_sandbox_grpc.SandboxServiceBase):
        async def get_status(
            self, message: flash_sandbox_grpc.StatusRequest
        ) -> flash_sandbox_grpc.StatusResponse:
            return flash_sandbox_grpc.StatusResponse(id=message.id, status="running")

    server = grpclib.server.Server([Service()])
    listening = socket.create_server(("127.0.0.1", 0))
    await server.start(sock=listening)
    return "{}:{}".format(*listening.getsockname())


tasks: list[asyncio.Future[None]] = []


async def main() -> None:
    print(await {"http": http, "grpc": grpc}[sys.argv[1]](), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
