"""Connections to ports and sockets of a sandbox, which has no network."""

from __future__ import annotations

import errno

import flash_sandbox_guest as guest
import pytest
from agents import WINDOW, Host

SERVER = """
import socket, sys
family, address, size = getattr(socket, sys.argv[1]), eval(sys.argv[2]), int(sys.argv[3])
with socket.socket(family) as listener:
    listener.bind(address)
    listener.listen()
    print("listening", flush=True)
    connection, _ = listener.accept()
    with connection:
        if size:
            connection.sendall(bytes(size))
        else:
            while data := connection.recv(65536):
                connection.sendall(data)
print("done", flush=True)
"""


def _serve(host: Host, family: str, address: object, size: int = 0) -> int:
    task = host.start("python3", "-c", SERVER, family, repr(address), str(size))
    host.wait_for_output(task, b"listening")
    return task


def _dial(host: Host, **where: object) -> int:
    task = host.new_task()
    host.send(task, dial=guest.Dial(window=WINDOW, **where))
    return task


@pytest.mark.parametrize(
    ("family", "address", "where"),
    [
        ("AF_INET", ("127.0.0.1", 8000), {"port": 8000}),
        ("AF_INET", ("0.0.0.0", 8000), {"port": 8000}),
        ("AF_INET6", ("::1", 8000), {"port": 8000}),
        ("AF_UNIX", "/tmp/socket", {"path": b"/tmp/socket"}),
    ],
    ids=["ipv4", "any", "ipv6", "unix"],
)
def test_what_is_sent_to_a_server_comes_back(
    host: Host, family: str, address: object, where: dict[str, object]
) -> None:
    server = _serve(host, family, address)
    connection = _dial(host, **where)
    # More than any buffer on the way holds.
    sent = bytes(range(256)) * 4096
    host.write(connection, sent, end=True)
    result = host.finish(connection)
    assert (result.status, result.stdout == sent) == (0, True)
    assert host.finish(server).stdout.endswith(b"done\n")


def test_a_server_that_closes_ends_the_connection(host: Host) -> None:
    _serve(host, "AF_INET", ("127.0.0.1", 8000), 1_000_000)
    result = host.finish(_dial(host, port=8000))
    assert (result.status, result.stdout) == (0, bytes(1_000_000))


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ({"port": 1}, errno.ECONNREFUSED),
        ({"port": 70_000}, errno.EINVAL),
        ({"path": b"/tmp/none"}, errno.ENOENT),
        ({"path": b"/" * 200}, errno.EINVAL),
    ],
)
def test_what_cannot_be_reached_is_told_by_the_kernels_number(
    host: Host, where: dict[str, object], error: int
) -> None:
    assert host.finish(_dial(host, **where)).status == error


def test_a_connection_is_ended_by_a_kill(host: Host) -> None:
    server = _serve(host, "AF_INET", ("127.0.0.1", 8000))
    connection = _dial(host, port=8000)
    host.send(connection, kill=guest.Kill())
    assert host.finish(connection).status == errno.ECONNABORTED
    assert host.finish(server).stdout.endswith(b"done\n")
