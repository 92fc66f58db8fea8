"""An orchestrator inside this process: for tests, notebooks, and for ``flash-sandbox serve``."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self, TypedDict, Unpack

from ..models import NetworkMode
from .core.admission import Admission
from .core.json_manifests import move_json_manifests
from .core.json_records import move_json_records
from .core.port_links import PortLinks
from .core.service import KEEP_ENDED_SECONDS, SandboxService
from .core.snapshot_expiry import expiring_snapshots
from .doors.auth import Gatekeeper, require_safe_bind
from .doors.calls import Calls
from .doors.connections import BACKLOG, Connections, notice_dead_peers
from .doors.grpc_server import GRPCServer
from .doors.grpc_service import GRPCService
from .doors.http_app import HTTPApp
from .doors.http_server import HTTPServer
from .doors.mcp import MCPDoor
from .doors.prometheus import Measures
from .doors.request_log import LogFormat, RequestLog
from .network.egress import Egress
from .network.judge import Operator
from .network.names import Names, parse_table
from .runtimes.base import Runtime
from .runtimes.catalogue import Limits, all_runtimes
from .snapshots.store import Snapshots
from .state.database import Database
from .state.directory import state_directory
from .volumes.named import NamedVolumes
from .volumes.roots import VolumeRoots

__all__ = ["Orchestrator", "OrchestratorOptions", "new_event_loop", "running_orchestrator"]

# How long a call in flight may go on once the orchestrator is told to stop.
_GRACE_SECONDS: Final = 2.0


class OrchestratorOptions(TypedDict, total=False):
    """What `Orchestrator` takes, all of it optional."""

    host: str
    http_port: int
    grpc_port: int
    state_dir: Path | None
    limits: Limits
    image_roots: Sequence[Path]
    registries: Sequence[str] | None
    image_store: Path | None
    image_store_bytes: int | None
    default_network: NetworkMode
    max_network: NetworkMode
    allow_networks: Sequence[str]
    deny_networks: Sequence[str]
    resolve: Sequence[str]
    max_ttl: float | None
    default_ttl: float
    max_sandboxes: int | None
    max_snapshot_hours: float | None
    firecracker_runtime: str
    volume_roots: Sequence[str]
    warm: Mapping[str, int]
    end_sandboxes: bool
    keep_ended: float
    api_key: str | None
    insecure: bool
    no_key: bool
    hosts: Sequence[str]
    ports_domain: str | None
    log_format: LogFormat


class Orchestrator:
    """Both front doors over one service core, in the running event loop, as an async context manager.

    Args:
        host: Name or IP address to listen on.
        http_port: Port of the HTTP front door; 0 for a free one.
        grpc_port: Port of the gRPC front door; 0 for a free one.
        state_dir: Where files are kept; None for a temporary directory that is removed at the end. One that
            is given keeps snapshots and images.
        limits: What to do where the host gives no cgroup: ``enforce`` refuses to start, ``best-effort``
            samples memory and uses rlimits.
        image_roots: Directories from which images are taken, besides ``rootfs`` in the state directory.
        registries: Patterns of the registries whose images may be started, such as ``docker.io`` (all there
            is where it is None), ``ghcr.io/owner/*`` or ``*``; ``docker-daemon``: all that Docker Engine has.
        image_store: Where unpacked images are kept, which several orchestrators may share; None for a place
            in the state directory.
        image_store_bytes: What unpacked images may take besides those in use; None for 20 GiB.
        default_network: NetworkMode of a sandbox whose start names none: ``none`` or ``bridge``.
        max_network: The network that reaches furthest of those that starts may ask for: ``none``, ``policy``,
            or ``bridge``, also called ``open``.
        allow_networks: What sandboxes with a network may reach besides the public Internet: networks such as
            ``10.1.0.0/16``, addresses, ``private``, ``metadata`` (clouds'), ``host`` (this one) or ``any``.
        deny_networks: Networks that they may not reach, whatever else they may.
        resolve: Names that policies may allow whatever their addresses are, each ``NAME=ADDRESS``.
        max_ttl: Most seconds until a sandbox expires; None for no limit.
        default_ttl: Seconds that a sandbox has whose start asks for none, anew from each call that uses it,
            `max_ttl` in all; 0 for `max_ttl`, or without end.
        max_sandboxes: Most sandboxes that there may be at a time; None for no limit.
        max_snapshot_hours: Hours after which a snapshot is removed, above 0; None to keep them until they are
            removed.
        firecracker_runtime: Docker Engine's name of the OCI runtime that boots Firecracker; empty: Kata's.
        volume_roots: Directories, each ``DIR`` or ``DIR:ro`` (to be read alone), at or below which sandboxes
            may have volumes; ``/`` for every directory that this process can open.
        warm: How many sandboxes are kept ready, by their image, or ``RUNTIME:IMAGE``, for starts that ask for
            that image, and for nothing else but a name, labels and a time to live.
        end_sandboxes: Whether docker, gvisor and firecracker sandboxes end with it, too; otherwise the next
            orchestrator on `state_dir` goes on with them.
        keep_ended: Seconds for which `get_info` and `get_logs` tell of a sandbox that has ended.
        api_key: Key that callers must carry; None for none: only processes of this process's own user, and
            of root, may call then, by the loopback interface.
        insecure: Listen beyond loopback also without a key, and let everybody in.
        no_key: Let every user of this machine in without a key.
        hosts: Names that browsers may call it by, also without a key, besides ``localhost`` and IP addresses.
        ports_domain: Domain below which each port of a sandbox has a host name, for URLs of ports, such as
            ``ports.example.com``, or ``https://ports.example.com`` behind a proxy that adds TLS; None for
            ``localhost``.
        log_format: ``text`` or ``json``.

    Attributes:
        http_address: ``http://HOST:PORT``, once it runs.
        grpc_address: ``HOST:PORT``, once it runs.
        state_dir: Where files are kept, once it runs.

    Raises:
        ValueError: On entering: listening there without a key was not allowed, or `max_ttl`, `default_ttl`,
            `max_sandboxes` or `max_snapshot_hours` is out of range, or what is allowed,
            denied or resolved is malformed.
        OSError: On entering: a port is taken, the host is not this machine's, or a volume root is no
            directory.
        StateDirError: On entering: the state directory cannot be used.
        RuntimeUnavailableError: On entering: the host lacks what limits="enforce" needs.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        http_port: int = 0,
        grpc_port: int = 0,
        state_dir: Path | None = None,
        limits: Limits = "enforce",
        image_roots: Sequence[Path] = (),
        registries: Sequence[str] | None = None,
        image_store: Path | None = None,
        image_store_bytes: int | None = None,
        default_network: NetworkMode = "none",
        max_network: NetworkMode = "bridge",
        allow_networks: Sequence[str] = (),
        deny_networks: Sequence[str] = (),
        resolve: Sequence[str] = (),
        max_ttl: float | None = None,
        default_ttl: float = 0.0,
        max_sandboxes: int | None = None,
        max_snapshot_hours: float | None = None,
        firecracker_runtime: str = "",
        volume_roots: Sequence[str] = (),
        warm: Mapping[str, int] = MappingProxyType({}),
        end_sandboxes: bool = True,
        keep_ended: float = KEEP_ENDED_SECONDS,
        api_key: str | None = None,
        insecure: bool = False,
        no_key: bool = False,
        hosts: Sequence[str] = (),
        ports_domain: str | None = None,
        log_format: LogFormat = "text",
    ) -> None:
        self.http_address = ""
        self.grpc_address = ""
        self.state_dir: Path | None = state_dir
        self._host = host
        self._ports = (http_port, grpc_port)
        self._limits: Limits = limits
        self._admission = partial(
            Admission, default_network, max_ttl, max_sandboxes, max_network, default_ttl=default_ttl
        )
        self._networks = (allow_networks, deny_networks)
        self._resolve = tuple(resolve)
        self._max_snapshot_age = None if max_snapshot_hours is None else max_snapshot_hours * 3600
        self._image_roots = tuple(image_roots)
        self._registries = registries
        self._image_store = image_store
        self._image_store_bytes = image_store_bytes
        self._firecracker_runtime = firecracker_runtime
        self._volume_roots = volume_roots
        self._warm = warm
        self._end_sandboxes = end_sandboxes
        self._keep_ended = keep_ended
        self._api_key = api_key
        self._insecure = insecure
        self._gatekeeper = Gatekeeper(api_key, insecure=insecure, no_key=no_key, hosts=hosts)
        self._links = PortLinks(ports_domain)
        self._log = RequestLog(log_format)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._max_snapshot_age is not None and not self._max_snapshot_age > 0:
            raise ValueError("snapshots must be kept for more than 0 hours")
        admission = self._admission()
        async with AsyncExitStack() as stack:
            # Bound first: what cannot listen need not start.
            http_socket = stack.enter_context(self._bind(self._ports[0]))
            grpc_socket = stack.enter_context(self._bind(self._ports[1]))
            is_kept = self.state_dir is not None
            self.state_dir = await stack.enter_async_context(state_directory(self.state_dir))
            database = Database(self.state_dir if is_kept else None, event=self._log.event)
            stack.callback(database.close)
            await move_json_records(self.state_dir, database)
            snapshots = Snapshots(self.state_dir / "snapshots", database)
            await move_json_manifests(snapshots, database)
            named = NamedVolumes(self.state_dir / "volumes", database)
            volumes = VolumeRoots(self._volume_roots, [self.state_dir], named)
            stack.callback(volumes.close)
            egress = Egress.parse(*self._networks)
            names = Names(parse_table(self._resolve))
            stack.callback(names.close)
            service = SandboxService(
                self._runtimes(self.state_dir, snapshots, volumes, egress),
                snapshots,
                admission,
                database,
                self._keep_ended,
                self._log.event,
                self._warm,
                self._links,
                Operator(egress, names, await database.key("authority")),
                named,
            )
            self._links.key = await database.key("port_links")
            self._links.http_port = http_socket.getsockname()[1]
            await service.open()
            stack.push_async_callback(service.close, end_sandboxes=self._end_sandboxes or not is_kept)
            await stack.enter_async_context(
                expiring_snapshots(service, self._max_snapshot_age, self._log.event)
            )
            await stack.enter_async_context(self._front_doors(service, http_socket, grpc_socket))
            self.http_address = "http://" + _address(self._host, http_socket)
            self.grpc_address = _address(self._host, grpc_socket)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop: give calls in flight a short grace, end every sandbox, remove files. Twice does no more."""
        await self._stack.aclose()

    def _runtimes(
        self, state_dir: Path, snapshots: Snapshots, volumes: VolumeRoots, egress: Egress
    ) -> dict[str, Runtime]:
        return all_runtimes(
            state_dir,
            limits=self._limits,
            image_roots=self._image_roots,
            registries=self._registries,
            image_store=self._image_store,
            image_store_bytes=self._image_store_bytes,
            egress=egress,
            snapshots=snapshots,
            firecracker_runtime=self._firecracker_runtime,
            volumes=volumes,
            event=self._log.event,
        )

    def _bind(self, port: int) -> socket.socket:
        found = socket.getaddrinfo(self._host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # IPv4 first: it is what a name that has both kinds, such as localhost, is mostly asked by.
        family, _, _, _, address = min(found, key=lambda entry: entry[0] is not socket.AF_INET)
        require_safe_bind(str(address[0]), self._api_key, insecure=self._insecure)
        bound = socket.create_server((str(address[0]), int(address[1])), family=family, backlog=BACKLOG)
        notice_dead_peers(bound)
        return bound

    @asynccontextmanager
    async def _front_doors(
        self, service: SandboxService, http_socket: socket.socket, grpc_socket: socket.socket
    ) -> AsyncIterator[None]:
        measures = Measures(service.registry, service.warm.pools)
        calls = Calls(self._log, measures.count)
        connections = Connections(self._gatekeeper.trusts)
        mcp = MCPDoor(_from_here(http_socket), self._api_key)
        app = HTTPApp(service, calls, self._gatekeeper, measures, mcp)
        http = HTTPServer(app, connections, app.upgrades)
        grpc = GRPCServer(GRPCService(service, calls, self._gatekeeper), connections)
        try:
            await http.start(http_socket)
            await grpc.listen(grpc_socket)
            yield
        finally:
            await mcp.close()
            http.stop_accepting()
            grpc.stop_accepting()
            # Those who watch would go on for ever.
            service.events.close()
            await calls.drain(_GRACE_SECONDS)
            await http.close()
            await grpc.shut_down()


@contextmanager
def running_orchestrator(**options: Unpack[OrchestratorOptions]) -> Iterator[Orchestrator]:
    """Run an orchestrator in a background thread, with an event loop of its own.

    Takes and raises what `Orchestrator` does.
    """
    orchestrator = Orchestrator(**options)
    loop = new_event_loop()
    started = threading.Event()
    failures: list[BaseException] = []
    stop = asyncio.Event()

    async def serve() -> None:
        async with orchestrator:
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        except BaseException as error:
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="flash-sandbox-orchestrator", daemon=True)
    thread.start()
    started.wait()
    try:
        if failures:
            raise failures[0]
        yield orchestrator
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join()
    if failures:
        raise failures[0]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop, uvloop's where that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _from_here(sock: socket.socket) -> str:
    """Return the address by which this machine reaches what listens on a socket."""
    address = ipaddress.ip_address(sock.getsockname()[0])
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return "http://" + _address(str(address), sock)


def _address(host: str, sock: socket.socket) -> str:
    port = sock.getsockname()[1]
    try:
        bracketed = ipaddress.ip_address(host.partition("%")[0]).version == 6
    except ValueError:
        bracketed = False
    return f"[{host}]:{port}" if bracketed else f"{host}:{port}"
