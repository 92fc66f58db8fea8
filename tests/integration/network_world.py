"""The networks around a Docker Engine of the tests': a neighbour, a cloud's metadata, and the Internet.

The engine's network namespace is the host. One more namespace plays everybody else: it has all of their
addresses, and on each answers who asks, and for any name with a public address.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from docker_engine import DockerEngine

PORT: Final = 8099
PUBLIC: Final = "93.184.216.34"
NEIGHBOUR: Final = "192.168.77.2"
PRIVATE: Final = "10.9.8.7"
METADATA: Final = "169.254.169.254"
ELSEWHERE: Final = (PUBLIC, PRIVATE, METADATA, "168.63.129.16", "100.100.100.200", "100.64.3.4", "198.18.0.9")
HOST: Final = "192.168.77.1"
# A network of public addresses that the host is on itself.
PUBLIC_HOST: Final = "81.2.69.161"
PUBLIC_NEIGHBOUR: Final = "81.2.69.162"
NAME_SERVER: Final = PRIVATE

_SERVER: Final = """
import socket, sys, threading

def answer():
    listening = socket.create_server(("", int(sys.argv[1])))
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"reached")

def name():
    questions = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    questions.bind((sys.argv[2], 53))
    while True:
        asked, whom = questions.recvfrom(512)
        question = asked[12:asked.index(0, 12) + 5]
        found = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\5\\0\\4" + socket.inet_aton(sys.argv[3])
        is_a = question[-4:-2] == b"\\0\\1"
        head = asked[:2] + b"\\x81\\x80\\0\\1" + (b"\\0\\1" if is_a else b"\\0\\0") + b"\\0\\0\\0\\0"
        questions.sendto(head + question + (found if is_a else b""), whom)

if len(sys.argv) > 2:
    threading.Thread(target=name, daemon=True).start()
answer()
"""


def missing() -> str | None:
    """Return what this host lacks to make networks, or None."""
    return None if shutil.which("ip") else "there is no ip on PATH (on Debian: apt-get install iproute2)"


@dataclass(frozen=True)
class World:
    """What is around an engine.

    Attributes:
        engine: The engine.
        process: A process in the namespace of everybody else.
    """

    engine: DockerEngine
    process: int

    def on_host(self, *command: str, text: str = "") -> str:
        """Run a program on the host, and return what it printed."""
        return _run(self.engine.process.pid, *command, text=text)

    def elsewhere(self, *command: str) -> str:
        """Run a program where everybody else is, and return what it printed."""
        return _run(self.process, *command)


@contextmanager
def world_around(engine: DockerEngine, directory: Path) -> Iterator[World]:
    """Make the networks around an engine, for the length of the block."""
    host = engine.process.pid
    enter = ["nsenter", f"--net=/proc/{host}/ns/net", "--"]
    serve = [sys.executable, "-c", _SERVER, str(PORT)]
    with (
        subprocess.Popen(["unshare", "--net", "--", "sleep", "infinity"]) as elsewhere,
        _ended(elsewhere),
    ):
        # Once unshare(1) has become sleep(1), it is in its namespace.
        while os.readlink(f"/proc/{elsewhere.pid}/exe").endswith("unshare"):
            os.sched_yield()
        world = World(engine, elsewhere.pid)
        peer = ("peer", "down0", "netns", str(elsewhere.pid))
        world.on_host("ip", "link", "add", "up0", "type", "veth", *peer)
        for address in (f"{HOST}/24", f"{PUBLIC_HOST}/29"):
            world.on_host("ip", "address", "add", address, "dev", "up0")
        world.on_host("ip", "link", "set", "up0", "up")
        for address in (f"{NEIGHBOUR}/24", f"{PUBLIC_NEIGHBOUR}/29", *(f"{one}/32" for one in ELSEWHERE)):
            world.elsewhere("ip", "address", "add", address, "dev", "down0")
        world.elsewhere("ip", "link", "set", "down0", "up")
        world.elsewhere("ip", "link", "set", "lo", "up")
        world.on_host("ip", "route", "add", "default", "via", NEIGHBOUR)
        # The engine reads it for each container. Its mount namespace is its own.
        resolvers = directory / "resolv.conf"
        resolvers.write_text(f"nameserver {NAME_SERVER}\n")
        mount = ["nsenter", f"--mount=/proc/{host}/ns/mnt", "--"]
        subprocess.run([*mount, "mount", "--bind", str(resolvers), "/etc/resolv.conf"], check=True)
        others = ["nsenter", f"--net=/proc/{elsewhere.pid}/ns/net", "--", *serve, NAME_SERVER, PUBLIC]
        with _serving(others), _serving([*enter, *serve]):
            yield world


@contextmanager
def _serving(command: list[str]) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, _ended(process):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield


@contextmanager
def _ended(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()


def _run(process: int, *command: str, text: str = "") -> str:
    line = ["nsenter", f"--net=/proc/{process}/ns/net", "--", *command]
    return subprocess.run(line, input=text, capture_output=True, text=True, check=True).stdout
