"""What keeps a bridge's sandboxes from the host and its networks: rules of the engine's packet filter.

A chain of the orchestrator's own holds them. What comes from its bridge jumps there: from ``INPUT``, for the
host itself, and from ``DOCKER-USER``, which the engine asks first and never changes
(https://docs.docker.com/engine/network/packet-filtering-firewalls). No other rule is touched.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path
from typing import Final

from ...network.egress import METADATA, SPECIAL, Egress

__all__ = ["FilterMissing", "PacketFilter", "rules"]

_REJECT: Final = ("-j", "REJECT", "--reject-with", "icmp-admin-prohibited")
_NO_CHAIN: Final = "the engine's packet filter has no chain DOCKER-USER"
_SECONDS: Final = 30.0
_WAIT: Final = ("-w", "10")
# Where the engine reads which name servers it passes questions on to.
_RESOLVERS: Final = ("etc/resolv.conf", "run/systemd/resolve/resolv.conf")


class FilterMissing(Exception):
    """The rules cannot be set, or do not hold; the text is why."""


@dataclass(frozen=True, slots=True)
class PacketFilter:
    """The rules for one bridge.

    Attributes:
        host: Where the engine is: the rules belong where its bridges are.
        bridge: Name of the bridge's interface.
        chain: Name of the chain.
        comment: Comment of the rules that lead there.
    """

    host: str
    bridge: str
    chain: str
    comment: str

    def missing(self) -> str | None:
        """Return what this host lacks to set any rules; None for nothing."""
        try:
            if "-N DOCKER-USER" not in self._listed(self._engine(), "iptables"):
                return _NO_CHAIN
        except FilterMissing as missing:
            return str(missing)
        return None

    def ensure(self, egress: Egress, subnet: IPv4Network, gateway: IPv4Address) -> None:
        """Set the rules where they are not as they should be, and read them back.

        Args:
            egress: What sandboxes may reach.
            subnet: The sandboxes' own.
            gateway: The bridge's address in it.

        Raises:
            FilterMissing: If that is not possible here.
        """
        engine = self._engine()
        self._require_bridge(engine, gateway)
        wanted = list(rules(egress, subnet, _neighbours(engine), _name_servers(engine)))
        if not self._holds(engine, wanted):
            self._write(engine, wanted)
            if not self._holds(engine, wanted):
                raise FilterMissing("the packet filter does not keep the rules that it was given")
        if Path(f"/proc/{engine}/net/if_inet6").exists():
            self._ensure_no_ipv6(engine)

    def remove(self) -> None:
        """Remove every rule of this chain, if there is one."""
        try:
            engine = self._engine()
            for program, jumped_from in (("iptables", "DOCKER-USER"), ("ip6tables", "FORWARD")):
                listed = self._listed(engine, program)
                if f"-N {self.chain}" in listed:
                    lines = [self._jump("-D", place) for place in ("INPUT", jumped_from)]
                    lines = [line for line in lines if line.replace("-D ", "-A ", 1) in listed]
                    self._restore(engine, program, [*lines, f"-F {self.chain}", f"-X {self.chain}"])
        except FilterMissing:
            # The engine is gone, and its bridges with it.
            return

    def _holds(self, engine: int, wanted: Sequence[Sequence[str]]) -> bool:
        """Tell whether the rules are there, in their order, and no other decides before them."""
        listed = self._listed(engine, "iptables")
        if "-N DOCKER-USER" not in listed:
            raise FilterMissing(_NO_CHAIN)
        forwarded = [line for line in listed if line.startswith("-A FORWARD ")]
        if "-A FORWARD -j DOCKER-USER" not in forwarded or self._is_after_ours(
            forwarded, "-A FORWARD -j DOCKER-USER"
        ):
            raise FilterMissing("the packet filter does not ask the chain DOCKER-USER first")
        rules = [line.split() for line in listed if line.startswith(f"-A {self.chain} ")]
        return (
            len(rules) == len(wanted)
            and all(self._says(rule, words) for rule, words in zip(rules, wanted, strict=True))
            and all(self._jumps_first(listed, place) for place in ("INPUT", "DOCKER-USER"))
        )

    def _says(self, rule: Sequence[str], wanted: Sequence[str]) -> bool:
        """Tell whether a rule, as it is listed, is the one that was asked for; modules are named there."""
        return set(wanted) <= set(rule) <= {*wanted, "-A", self.chain, "-m", "udp", "tcp"}

    def _is_after_ours(self, lines: Sequence[str], line: str) -> bool:
        return any(self.bridge in earlier.split() for earlier in lines[: lines.index(line)])

    def _jumps_first(self, listed: Sequence[str], place: str) -> bool:
        """Tell whether what comes from the bridge is sent to our chain before any other rule sees it."""
        for line in listed:
            if line.startswith(f"-A {place} "):
                words = line.split()
                if line == self._jump("-A", place):
                    return True
                # Rules for what comes from elsewhere, such as other orchestrators' bridges, are no matter.
                if "-i" not in words or words[words.index("-i") - 1] == "!":
                    return False
                if words[words.index("-i") + 1] == self.bridge:
                    return False
        return False

    def _write(self, engine: int, wanted: Sequence[Sequence[str]]) -> None:
        listed = self._listed(engine, "iptables")
        places = ("INPUT", "DOCKER-USER")
        old = [self._jump("-D", place) for place in places if self._jump("-A", place) in listed]
        new = [self._jump("-I", place) for place in places]
        rules = [" ".join(("-A", self.chain, *words)) for words in wanted]
        self._restore(engine, "iptables", [f":{self.chain} - [0:0]", *old, *rules, *new])

    def _ensure_no_ipv6(self, engine: int) -> None:
        """Refuse whatever comes from the bridge over IPv6, which sandboxes are not given."""
        places = ("INPUT", "FORWARD")

        def holds() -> bool:
            listed = self._listed(engine, "ip6tables")
            return f"-A {self.chain} -j DROP" in listed and all(
                self._jumps_first(listed, place) for place in places
            )

        if not holds():
            listed = self._listed(engine, "ip6tables")
            old = [self._jump("-D", place) for place in places if self._jump("-A", place) in listed]
            new = [self._jump("-I", place) for place in places]
            chain = [f":{self.chain} - [0:0]", f"-A {self.chain} -j DROP"]
            self._restore(engine, "ip6tables", [*chain, *old, *new])
            if not holds():
                raise FilterMissing("the packet filter for IPv6 does not keep the rules that it was given")

    def _jump(self, action: str, place: str) -> str:
        return f'{action} {place} -i {self.bridge} -m comment --comment "{self.comment}" -j {self.chain}'

    def _listed(self, engine: int, program: str) -> list[str]:
        return self._run(engine, [program, *_WAIT, "-S"]).splitlines()

    def _restore(self, engine: int, program: str, lines: Sequence[str]) -> None:
        text = "\n".join(["*filter", *lines, "COMMIT", ""])
        self._run(engine, [f"{program}-restore", *_WAIT, "--noflush"], text)

    def _run(self, engine: int, command: Sequence[str], text: str = "") -> str:
        """Run a program in the engine's network namespace and return what it printed."""
        try:
            if not os.path.samefile(f"/proc/{engine}/ns/net", "/proc/self/ns/net"):
                command = ["nsenter", f"--net=/proc/{engine}/ns/net", "--", *command]
        except OSError as error:
            raise _gone(error) from None
        try:
            done = subprocess.run(
                command, input=text, capture_output=True, text=True, errors="replace", timeout=_SECONDS
            )
        except FileNotFoundError:
            raise FilterMissing(f"there is no {command[0]} on PATH") from None
        except (OSError, subprocess.SubprocessError) as error:
            raise FilterMissing(f"{command[0]} failed: {error}") from None
        if done.returncode != 0:
            said = done.stderr.strip().partition("\n")[0]
            raise FilterMissing(f"{command[0]} failed: {said or f'it ended with {done.returncode}'}")
        return done.stdout

    def _engine(self) -> int:
        """Return the engine's process, whose network namespace is that of its bridges."""
        scheme, _, path = self.host.partition("://")
        if scheme != "unix":
            raise FilterMissing(f"Docker Engine at {self.host} may be another machine's")
        if os.geteuid() != 0:
            raise FilterMissing("the orchestrator is not root, who alone may set the packet filter")
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(path)
                peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError as error:
            raise FilterMissing(f"Docker Engine not reachable at {self.host}: {error.strerror}") from None
        pid: int = struct.unpack("3i", peer)[0]
        if not pid or not os.path.exists(f"/proc/{pid}/ns/net"):
            raise FilterMissing("the engine's process cannot be seen from here")
        return pid

    def _require_bridge(self, engine: int, gateway: IPv4Address) -> None:
        """Make sure that the rules are set where the bridge is, and see what passes between its ports."""
        interfaces = _table(engine, "dev").split()
        addresses = _table(engine, "fib_trie")
        if f"{self.bridge}:" not in interfaces or f" {gateway}\n" not in addresses:
            raise FilterMissing(f"the bridge {self.bridge} is not where the engine's socket leads to")
        if self._run(engine, ["cat", "/proc/sys/net/bridge/bridge-nf-call-iptables"]).strip() != "1":
            raise FilterMissing(
                "the packet filter does not see what goes from sandbox to sandbox (load br_netfilter and set "
                "net.bridge.bridge-nf-call-iptables to 1)"
            )


def rules(
    egress: Egress,
    subnet: IPv4Network,
    neighbours: Sequence[IPv4Network],
    name_servers: Sequence[IPv4Address],
) -> Iterator[tuple[str, ...]]:
    """Yield what each rule says: the first that matches a packet decides.

    What is not of IPv4 is left out: the network has nothing else.

    Args:
        egress: What sandboxes may reach.
        subnet: Their own network.
        neighbours: Networks that the host is on itself.
        name_servers: Whom the engine asks for names.
    """
    # Answers to who asked from outside, and the rest of what was let through once.
    yield ("-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "RETURN")
    for network in _ipv4(egress.denied):
        yield (*_to(network), *_REJECT)
    # The engine passes questions for names on from within the sandbox's network.
    for address in name_servers:
        for protocol in ("udp", "tcp"):
            yield ("-d", f"{address}/32", "-p", protocol, "--dport", "53", "-j", "RETURN")
    opened = egress.host or egress.everything
    yield ("-m", "addrtype", "--dst-type", "LOCAL", *(("-j", "RETURN") if opened else _REJECT))
    yield ("-d", str(subnet), *_REJECT)
    if egress.everything:
        return
    for network in _ipv4(egress.allowed):
        yield (*_to(network), "-j", "RETURN")
    kept = [IPv4Network(name) for name in (*METADATA, *SPECIAL) if ":" not in name]
    for network in [*kept, *(network for network in neighbours if not any(map(network.subnet_of, kept)))]:
        yield ("-d", str(network), *_REJECT)


def _to(network: IPv4Network) -> tuple[str, ...]:
    return ("-d", str(network)) if network.prefixlen else ()


def _ipv4(networks: Sequence[object]) -> list[IPv4Network]:
    return [network for network in networks if isinstance(network, IPv4Network)]


def _neighbours(engine: int) -> list[IPv4Network]:
    """Return the networks that the host is on itself, from its table of routes (proc_pid_net(5))."""
    found = set()
    for line in _table(engine, "route").splitlines()[1:]:
        columns = line.split()
        destination, gateway, mask = (_address(columns[number]) for number in (1, 2, 7))
        if int(gateway) == 0 and int(mask) != 0:
            found.add(IPv4Network(f"{destination}/{mask}"))
    return sorted(found)


def _table(engine: int, name: str) -> str:
    """Return what the kernel tells of the engine's network (proc_pid_net(5))."""
    try:
        return Path(f"/proc/{engine}/net/{name}").read_text()
    except OSError as error:
        raise _gone(error) from None


def _gone(error: OSError) -> FilterMissing:
    return FilterMissing(f"the engine's process cannot be looked at: {error.strerror}")


def _address(digits: str) -> IPv4Address:
    return IPv4Address(int.from_bytes(bytes.fromhex(digits), "little"))


def _name_servers(engine: int) -> list[IPv4Address]:
    """Return the name servers that the engine asks for sandboxes, those of its own host left out."""
    found = set()
    for path in _RESOLVERS:
        try:
            lines = Path(f"/proc/{engine}/root/{path}").read_text(errors="replace").splitlines()
        except OSError:
            continue
        for words in map(str.split, lines):
            if len(words) > 1 and words[0] == "nameserver":
                try:
                    address = ip_address(words[1])
                except ValueError:
                    continue
                if isinstance(address, IPv4Address) and not address.is_loopback:
                    found.add(address)
    return sorted(found)
