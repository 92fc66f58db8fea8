"""The gate of one sandbox: its programs' connections, which the orchestrator judges and makes.

The guest agent listens on the sandbox's loopback interface and hands each connection over as it is; every
protocol is spoken here. A host is judged by its name and port, resolved here, and connected to at the very
address that was judged. What the sandbox says besides (the name in TLS, the Host of a request) must agree
with that.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ...errors import ConflictError, UnsupportedError
from ...models.network import Network
from ..cancellation import completed, this_task
from ..guest.channel import Channel
from ..guest.tasks import ChannelFailed, Task, agent_errors
from .judge import Judge, Operator, Refused, Target
from .proxy import serve_proxy
from .resolver import Resolver
from .secrets import Secrets
from .streams import Headers, Inner, Lost, Outer
from .tunnel import tunnel

if TYPE_CHECKING:
    from .authority import Authority

__all__ = ["ENVIRONMENT", "Gate"]

_Serve: TypeAlias = Callable[[Inner], Coroutine[Any, Any, None]]

_LOOPBACK: Final = IPv4Address("127.0.0.1")
_PROXY_PORT: Final = 3128
_DNS_PORT: Final = 53
_PROXY: Final = f"http://127.0.0.1:{_PROXY_PORT}"
_DIRECT: Final = "localhost,127.0.0.1,::1"

ENVIRONMENT: Final = {
    **dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), _PROXY
    ),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), _DIRECT),
    # Node heeds the others only then.
    "NODE_USE_ENV_PROXY": "1",
}
"""How programs find the proxy."""

_CONNECTIONS: Final = 128
# A sandbox may ask for as much as it likes; events are for people.
_TOLD_AGAIN_SECONDS: Final = 60.0
_TOLD_A_MINUTE: Final = 60
_RETRY_SECONDS: Final = 1.0


class Gate:
    """The way out of one sandbox.

    Args:
        operator: What holds for every sandbox.
        refused: Called with what was refused, and why; not for each of many times.

    Attributes:
        operator: What holds for every sandbox.
        received: Bytes that the sandbox has received.
        sent: Bytes that it has sent.
    """

    def __init__(self, operator: Operator, refused: Callable[[str], None]) -> None:
        self.received = 0
        self.sent = 0
        self.operator = operator
        self._on_refused = refused
        self._judge: Judge | None = None
        self._secrets = Secrets(())
        self._authority: Authority | None = None
        self._channel: Channel | None = None
        self._resolver = Resolver(self._serve_name, self._leave_address)
        self._accepting: dict[Task, asyncio.Task[None]] = {}
        self._addresses: dict[Task, IPv4Address] = {}
        self._serving: dict[asyncio.Task[None], Target | None] = {}
        self._room = asyncio.Semaphore(_CONNECTIONS)
        self._told: OrderedDict[str, float] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether programs can connect to it."""
        return self._judge is not None

    async def open(self, channel: Channel, policy: Network) -> None:
        """Let programs connect, or change what they may; connections to what they may not any more end.

        Raises:
            UnsupportedError: The sandbox's agent is of a release that knows no policies.
            ConflictError: A program listens where the gate is to listen.
            InternalServerError: The agent does not answer as it should.
        """
        judge = Judge(policy, self.operator)
        if self._judge is None:
            if not channel.listens:
                raise UnsupportedError("a sandbox of an older release cannot have a network policy")
            self._channel = channel
            try:
                with agent_errors():
                    await self._listen_all()
            except BaseException:
                await self.close()
                raise
        self._judge = judge
        self._resolver.forget()
        self._end([task for task, target in self._serving.items() if target and not judge.allows(target)])

    async def close(self) -> None:
        """Let no program connect any more, and end the connections that there are. Idempotent."""
        self._judge = None
        self._resolver.forget()
        tasks = [*self._accepting.values(), *self._serving]
        self._end(tasks)
        for listener in list(self._accepting):
            self._leave(listener)
        if tasks:
            await completed(asyncio.wait(tasks))

    async def connect(self, target: Target) -> Outer:
        """Connect to a host for a program.

        Raises:
            Refused: The program may not be connected to it.
            OSError: It cannot be reached.
        """
        judge = self._judge
        if judge is None:
            raise Lost
        task = this_task()
        if self._serving[task] is None:
            self.operator.room.take()
        # First, so that a change of the policy finds it.
        self._serving[task] = target
        addresses = await judge.addresses(target)
        return await Outer.connect(addresses, target.port, self._count)

    def refuse(self, refused: Refused) -> None:
        """Tell that something was refused, unless it was told already, or too much was."""
        now, what = time.monotonic(), str(refused)
        while self._told and next(iter(self._told.values())) < now - _TOLD_AGAIN_SECONDS:
            self._told.popitem(last=False)
        if what not in self._told and len(self._told) < _TOLD_A_MINUTE:
            self._told[what] = now
            self._on_refused(what)

    def keep_secrets(self, secrets: Secrets, authority: Authority) -> None:
        """Give hosts the values of secrets that are for them.

        Args:
            secrets: The sandbox's.
            authority: Signs for those hosts; its programs trust it.
        """
        self._secrets, self._authority = secrets, authority

    def filled_in(self, target: Target, path: bytes, headers: Headers) -> tuple[bytes, Headers]:
        """Return path and headers of a request to a host with the values of secrets that are for it."""
        return self._secrets.filled(target, path), self._secrets.filled_headers(target, headers)

    def authority_for(self, target: Target) -> Authority | None:
        """Return who signs for a host whose requests get secrets; None where none does."""
        return self._authority if self._secrets.are_for(target) else None

    def denies(self, name: str, port: int) -> bool:
        """Tell whether the policy denies a name whatever else it allows."""
        return self._judge is None or self._judge.denies(name, port)

    async def _listen_all(self) -> None:
        resolver = self._resolver
        done = await asyncio.gather(
            self._listen(_LOOPBACK, _PROXY_PORT, partial(serve_proxy, way=self)),
            self._listen(_LOOPBACK, _DNS_PORT, resolver.serve_datagram, datagrams=True),
            self._listen(_LOOPBACK, _DNS_PORT, resolver.serve_stream),
            return_exceptions=True,
        )
        for failure in filter(None, done):
            raise failure

    async def _listen(
        self, address: IPv4Address, port: int, serve: _Serve, *, datagrams: bool = False
    ) -> None:
        """Serve those who connect to an address."""
        assert self._channel is not None
        listener = self._channel.listen(int(address), port, datagrams=datagrams)
        await listener.started()
        if not listener.has_started:
            listener.forget()
            raise ConflictError(
                f"a program of the sandbox listens on port {port}, where the gate is to listen"
            )
        self._addresses[listener] = address
        self._accepting[listener] = asyncio.create_task(self._accept(self._channel, listener, serve))

    def _leave(self, listener: Task) -> None:
        self._accepting.pop(listener).cancel()
        del self._addresses[listener]
        with suppress(ChannelFailed):
            listener.forget()

    async def _accept(self, channel: Channel, listener: Task, serve: _Serve) -> None:
        with suppress(ChannelFailed):
            while True:
                accepted = channel.accept(listener)
                try:
                    await accepted.begun()
                    # More wait in the sandbox, where nobody else is held up.
                    await self._room.acquire()
                except BaseException:
                    accepted.forget()
                    raise
                if accepted.has_started:
                    task = asyncio.create_task(self._serve(Inner(accepted), serve))
                    self._serving[task] = None
                    task.add_done_callback(self._served)
                else:
                    # The sandbox may have as many files open as it can have.
                    self._room.release()
                    accepted.forget()
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _serve_name(self, name: str, address: IPv4Address) -> bool:
        """Serve the ports of a name that the policy allows at an address of its own; tell whether any are."""
        judge = self._judge
        ports = judge.ports(name) if judge is not None else []
        # Programs look for the host's own name as well.
        if not ports and "." in name:
            self.refuse(Refused(name, "the sandbox's network policy does not allow it"))
        for port in ports:
            # A program may listen on every address.
            with suppress(ConflictError):
                await self._listen(address, port, partial(self._pass, Target(name, port)))
        return bool(ports)

    def _leave_address(self, address: IPv4Address) -> None:
        for listener in [listener for listener, where in self._addresses.items() if where == address]:
            self._leave(listener)

    async def _pass(self, target: Target, inner: Inner) -> None:
        """Connect a program that has looked a name up."""
        try:
            outer = await self.connect(target)
        except Refused as refused:
            self.refuse(refused)
        except OSError:
            pass
        else:
            await tunnel(inner, b"", outer, target, self)

    async def _serve(self, inner: Inner, serve: _Serve) -> None:
        try:
            with suppress(Lost, TimeoutError, ChannelFailed):
                await serve(inner)
        finally:
            inner.close()

    def _served(self, task: asyncio.Task[None]) -> None:
        if self._serving.pop(task) is not None:
            self.operator.room.give_back()
        self._room.release()

    def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()

    def _count(self, received: int, sent: int) -> None:
        self.received += received
        self.sent += sent
