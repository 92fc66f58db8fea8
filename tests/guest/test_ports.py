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


def _await_output_end(host: Host, connection: int) -> None:
    while (message := host.take()).task != connection or message.output_end is None:
        pass


def test_a_connection_ends_once_both_sides_are_closed(host: Host) -> None:
    _serve(host, "AF_INET", ("127.0.0.1", 8000), 1_000_000)
    connection = _dial(host, port=8000)
    _await_output_end(host, connection)
    host.write(connection, b"", end=True)
    result = host.finish(connection)
    assert (result.status, result.stdout) == (0, bytes(1_000_000))


def test_input_for_a_server_that_has_gone_breaks_the_connection_off(host: Host) -> None:
    server = _serve(host, "AF_INET", ("127.0.0.1", 8000), 10)
    connection = _dial(host, port=8000)
    _await_output_end(host, connection)
    host.finish(server)
    # The first one is answered by a reset, which the second one meets.
    while host.tasks[connection].ended is None:
        host.write(connection, b"late")
        host.ping()
    result = host.finish(connection)
    assert (result.status, result.stdout) in ((errno.EPIPE, bytes(10)), (errno.ECONNRESET, bytes(10)))


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


CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as connection:
    connection.sendall(sys.stdin.buffer.read())
    connection.shutdown(socket.SHUT_WR)
    while data := connection.recv(65536):
        sys.stdout.buffer.write(data)
"""

ASKER = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
    asker.settimeout(20)
    asker.connect((sys.argv[1], int(sys.argv[2])))
    for question in sys.argv[3:]:
        asker.send(question.encode())
        print(asker.recv(65536).decode(), flush=True)
"""


def _listen(host: Host, address: int, port: int, *, datagrams: bool = False) -> int:
    task = host.new_task()
    host.send(task, listen=guest.Listen(address=address, port=port, datagrams=datagrams))
    return task


def _accept(host: Host, listener: int) -> int:
    task = host.new_task()
    host.send(task, accept=guest.Accept(listener=listener, window=WINDOW))
    return task


@pytest.mark.parametrize("address", [0x7F000001, 0x7F0A0B0C])
def test_connection_of_a_program_is_accepted(host: Host, address: int) -> None:
    listener = _listen(host, address, 53)
    accepted = _accept(host, listener)
    text = ".".join(str(byte) for byte in address.to_bytes(4, "big"))
    sent = bytes(range(256)) * 4096
    client = host.start("python3", "-c", CLIENT, text, "53", takes_input=True)
    host.write(client, sent, end=True)
    host.wait_for_output(accepted, sent[:1000])
    host.write(accepted, b"answer", end=True)
    assert host.finish(client).stdout == b"answer"
    result = host.finish(accepted)
    assert (result.status, result.stdout == sent) == (0, True)


def test_program_that_has_ended_its_side_is_answered(host: Host) -> None:
    accepted = _accept(host, _listen(host, 0x7F000001, 8000))
    client = host.start("python3", "-c", CLIENT, "127.0.0.1", "8000", takes_input=True)
    host.write(client, b"question", end=True)
    _await_output_end(host, accepted)
    host.write(accepted, b"answer", end=True)
    assert host.finish(client).stdout == b"answer"
    result = host.finish(accepted)
    assert (result.status, result.stdout) == (0, b"question")


def test_programs_wait_until_they_are_accepted(host: Host) -> None:
    listener = _listen(host, 0x7F000001, 8000)
    clients = [host.start("python3", "-c", CLIENT, "127.0.0.1", "8000") for _ in range(3)]
    for _ in clients:
        accepted = _accept(host, listener)
        _await_output_end(host, accepted)
        host.write(accepted, b"", end=True)
        assert host.finish(accepted).status == 0
    assert [host.finish(client).stdout for client in clients] == [b"", b"", b""]


def test_datagrams_are_answered_each(host: Host) -> None:
    listener = _listen(host, 0x7F000001, 53, datagrams=True)
    asker = host.start("python3", "-c", ASKER, "127.0.0.1", "53", "first", "second")
    for question in (b"first", b"second"):
        accepted = _accept(host, listener)
        host.wait_for_output(accepted, question)
        host.write(accepted, b"answer to " + question, end=False)
        host.wait_for_output(asker, b"answer to " + question)
        host.send(accepted, kill=guest.Kill())
        assert host.finish(accepted).status == errno.ECONNABORTED
    assert host.finish(asker).status == 0


def test_a_listener_that_is_ended_lets_the_port_go(host: Host) -> None:
    listener = _listen(host, 0x7F000001, 8000)
    second = _listen(host, 0x7F000001, 8000)
    assert host.finish(second).status == errno.EADDRINUSE
    host.send(listener, kill=guest.Kill())
    assert host.finish(listener).status == errno.ECONNABORTED
    assert host.finish(_accept(host, listener)).status == errno.EBADF
    _serve(host, "AF_INET", ("127.0.0.1", 8000), 10)
    connection = _dial(host, port=8000)
    host.write(connection, b"", end=True)
    assert host.finish(connection).stdout == bytes(10)


@pytest.mark.parametrize("port", [0, 70_000])
def test_what_is_no_port_is_not_listened_on(host: Host, port: int) -> None:
    assert host.finish(_listen(host, 0x7F000001, port)).status == errno.EINVAL
