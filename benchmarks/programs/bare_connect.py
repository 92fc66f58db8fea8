"""A proxy that knows CONNECT and judges nothing, and a site behind it: ``bare_connect.py``.

Tells its ports in one line: its own, the site's, and that of the site by TLS. Ends at the end of its input.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from flash_sandbox.orchestrator.network.authority import Authority

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def site(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request alike."""
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(_ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connect to a port of this host, whatever the name, and copy both ways."""
    head = await reader.readuntil(b"\r\n\r\n")
    port = int(head.split()[1].rpartition(b":")[2])
    outer_reader, outer_writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(copy(reader, outer_writer), copy(outer_reader, writer))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main() -> None:
    context = Authority(bytes(32), "benchmark").context_for("site.test")
    servers = [
        await asyncio.start_server(proxy, "127.0.0.1", 0),
        await asyncio.start_server(site, "127.0.0.1", 0),
        await asyncio.start_server(site, "127.0.0.1", 0, ssl=context),
    ]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
