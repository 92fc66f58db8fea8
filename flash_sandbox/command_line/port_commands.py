"""``ports`` and ``port-forward``: what listens in a sandbox, and ports of this machine that lead there."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from ..clients.sync.ports import Ports
from ..models import SandboxInfo
from .connection import Connection, Failure, connected
from .names import in_sandbox
from .options import Address, ApiKey, AsJson, SandboxId, Transport
from .output import fields_of, print_json, print_table

if TYPE_CHECKING:
    from ..clients.forwarding import Forward
    from ..clients.sync.api import SandboxAPI

__all__ = ["port_forward", "ports"]


def ports(
    sandbox_id: SandboxId,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """List the TCP ports that programs in a sandbox listen on."""
    with connected("ports", Connection(transport, address, api_key)) as client:
        found = in_sandbox(client, sandbox_id, client.list_ports)
        if as_json:
            print_json([fields_of(each) for each in found])
        else:
            print_table(("PORT", "ADDRESS"), ((str(each.port), each.address) for each in found))


def port_forward(
    sandbox_id: SandboxId,
    pairs: Annotated[
        list[str],
        typer.Argument(
            help="Port of this machine, and that of the sandbox where it is another: 8000 or 8000:80; 0:80 "
            "takes any that is free.",
            metavar="PORT...",
        ),
    ],
    host: Annotated[str, typer.Option("--host", help="Address of this machine to listen on.")] = "127.0.0.1",
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Listen on ports of this machine, and carry what comes to ports of a sandbox, until Ctrl-C.

    The sandbox needs no network for that.
    """
    wanted = [_pair(each) for each in pairs]
    with connected("port-forward", Connection(transport, address, api_key)) as client, ExitStack() as stack:
        info = in_sandbox(client, sandbox_id, client.get_info)
        for local_port, port in wanted:
            forward = stack.enter_context(_forward(client, info, local_port, port, host))
            listens = f"{f'[{host}]' if ':' in host else host}:{forward.local_port}"
            if as_json:
                print_json({"id": info.id, "address": listens, "port": port})
            else:
                typer.echo(f"{listens} leads to port {port} of {info.id}")
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        ended.wait()


def _forward(client: SandboxAPI, info: SandboxInfo, local_port: int, port: int, host: str) -> Forward:
    try:
        return Ports(client, info.id).forward(port, local_port, host=host)
    except OSError as error:
        raise Failure(f"cannot listen on port {local_port} of {host}: {error.strerror or error}") from error


def _pair(text: str) -> tuple[int, int]:
    """Return the port of this machine and that of the sandbox."""
    local_port, _, port = text.partition(":")
    try:
        return int(local_port), int(port or local_port)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no PORT, nor PORT:PORT") from None
