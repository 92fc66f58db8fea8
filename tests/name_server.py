"""A name server of the tests' own, on a loopback address at port 53, which answers as a test says."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

_A, _AAAA = 1, 28
_PORT: Final = 53
_PRIVATE_MOUNTS: Final = ("unshare", "--mount", "--propagation", "private", "--")


def missing() -> str | None:
    """Return what this host lacks to run one and have a program ask it, or None."""
    if os.geteuid() != 0:
        return "port 53 and another /etc/resolv.conf need root"
    done = subprocess.run([*_PRIVATE_MOUNTS, "true"], capture_output=True, text=True, check=False)
    return done.stderr or None


class NameServer:
    """One that runs.

    Attributes:
        address: Where it listens.
        asked: The names that it was asked for, in the order of the questions, those for IPv6 left out.
    """

    def __init__(self, listening: socket.socket) -> None:
        self.address: str = listening.getsockname()[0]
        self.asked: list[str] = []
        self._listening = listening
        self._answers: dict[str, Iterator[str]] = {}

    def says(self, name: str, *addresses: str) -> None:
        """Answer questions for a name with each of these addresses in turn, again and again."""
        self._answers[name] = itertools.cycle(addresses)

    def serve(self) -> None:
        """Answer until the socket is closed."""
        with suppress(OSError):
            while True:
                asked, whom = self._listening.recvfrom(512)
                if not asked:
                    return
                self._listening.sendto(self._answered(asked), whom)

    def _answered(self, asked: bytes) -> bytes:
        end = asked.index(0, 12) + 5
        labels, at = [], 12
        while asked[at]:
            labels.append(asked[at + 1 : at + 1 + asked[at]].decode())
            at += 1 + asked[at]
        name, kind = ".".join(labels).lower(), int.from_bytes(asked[end - 4 : end - 2], "big")
        if kind == _A:
            self.asked.append(name)
        found = self._found(name, kind)
        head = asked[:2] + b"\x81\x80\0\1" + len(found).to_bytes(2, "big") + bytes(4)
        return head + asked[12:end] + b"".join(found)

    def _found(self, name: str, kind: int) -> list[bytes]:
        if name not in self._answers:
            return []
        # One address answers one question: what is of the other family has a name of its own.
        answers = self._answers[name]
        address = next(answers)
        family = _A if ip_address(address).version == 4 else _AAAA
        if family != kind:
            self._answers[name] = itertools.chain([address], answers)
            return []
        packed = ip_address(address).packed
        head = b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1" + bytes(4)
        return [head + len(packed).to_bytes(2, "big") + packed]


@contextmanager
def name_server() -> Iterator[NameServer]:
    """Run one for the length of a block."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        # Another run of the tests may have one, too.
        listening.bind((f"127.{os.getpid() % 250 + 2}.{os.getpid() // 250 % 250}.53", _PORT))
        server = NameServer(listening)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", listening.getsockname())
            thread.join()


def asking(server: NameServer, directory: Path, *command: str) -> list[str]:
    """Return a command line that runs a command whose only name server is this one."""
    (directory / "resolv.conf").write_text(f"nameserver {server.address}\noptions attempts:1 timeout:5\n")
    bind = f'mount --bind "{directory}/resolv.conf" "$(realpath /etc/resolv.conf)" && exec "$0" "$@"'
    return [*_PRIVATE_MOUNTS, "sh", "-c", bind, *command]
