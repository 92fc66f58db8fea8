"""Whose the other end of a connection is, as the kernel of this machine tells it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from other_user import NOBODY, acting_as

from flash_sandbox.orchestrator.doors import peers
from flash_sandbox.orchestrator.doors.peers import user_of_peer

# struct linger: a socket that is closed resets its connection.
RESET = b"\1\0\0\0\0\0\0\0"

IN_A_USER_NAMESPACE = """
import socket, sys
from flash_sandbox.orchestrator.doors.peers import user_of_peer
listener = socket.socket(fileno=int(sys.argv[1]))
for _ in range(2):
    connection, peer = listener.accept()
    print(user_of_peer(connection))
"""


class Connection:
    """A connection within this machine, and its two ends."""

    def __init__(self, stack: ExitStack, listen: str, reach: str, user: int | None = None) -> None:
        family = socket.AF_INET6 if ":" in listen else socket.AF_INET
        self.listener = listener = stack.enter_context(socket.socket(family))
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((listen, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with acting_as(os.geteuid() if user is None else user):
            self.client = stack.enter_context(
                socket.socket(socket.AF_INET6 if ":" in reach else socket.AF_INET)
            )
        self.client.connect((reach, port))
        self.server = stack.enter_context(listener.accept()[0])

    def user(self) -> int | None:
        return user_of_peer(self.server)


class Seen:
    """A socket whose names were looked up once, and are told also when it has been reset."""

    def __init__(self, connection: socket.socket, peer: object = None, local: object = None) -> None:
        self._peer = connection.getpeername() if peer is None else peer
        self._local = connection.getsockname() if local is None else local
        self.getsockopt = connection.getsockopt

    def getpeername(self) -> Any:
        return self._peer

    def getsockname(self) -> object:
        return self._local


def bound_to(stack: ExitStack, place: Any) -> socket.socket:
    """Return a socket with this address, also where connections of its port have ended just now."""
    bound = stack.enter_context(socket.socket())
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(place)
    return bound


@pytest.fixture(params=["own", "other"])
def user(request: pytest.FixtureRequest) -> int:
    """Tell whose the other end is."""
    return request.getfixturevalue("other_user") if request.param == "other" else os.geteuid()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    ("listen", "reach"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.2"),
        ("::1", "::1"),
        ("::", "127.0.0.1"),
        ("::", "::ffff:127.0.0.1"),
        ("0.0.0.0", "::ffff:127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_user_of_the_other_end_is_told(stack: ExitStack, listen: str, reach: str, user: int) -> None:
    assert Connection(stack, listen, reach, user).user() == user


def test_an_end_that_sends_no_more_is_still_told(stack: ExitStack) -> None:
    connection = Connection(stack, "127.0.0.1", "127.0.0.1")
    connection.client.shutdown(socket.SHUT_WR)
    assert connection.user() == os.geteuid()


def test_an_end_that_is_closed_is_nobodys_and_not_roots(stack: ExitStack, user: int) -> None:
    connection = Connection(stack, "127.0.0.1", "127.0.0.1", user)
    connection.client.sendall(b"what it asked for before")
    connection.client.close()
    assert connection.user() is None
    # Both have: the kernel remembers the connection for a minute, as root's.
    connection.server.close()
    assert connection.user() is None


def test_who_listens_on_the_port_of_a_closed_end_is_not_taken_for_it(stack: ExitStack) -> None:
    _, seen, taken = reset_and_taken(stack)
    taken.listen()
    assert user_of_peer(seen) is None


def test_who_connects_from_the_port_of_a_closed_end_is_not_taken_for_it(stack: ExitStack) -> None:
    connection, seen, taken = reset_and_taken(stack)
    taken.connect(connection.listener.getsockname())
    later = stack.enter_context(connection.listener.accept()[0])
    assert user_of_peer(later) == os.geteuid()
    assert user_of_peer(seen) is None


def reset_and_taken(stack: ExitStack) -> tuple[Connection, Seen, socket.socket]:
    """Make a connection, reset it from the other end, and take the port that this had."""
    for _ in range(100):
        connection = Connection(stack, "127.0.0.1", "127.0.0.1")
        seen = Seen(connection.server)
        connection.client.sendall(b"what can be read after the reset")
        connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.client.close()
        # On a busy machine somebody else may use that port, too.
        with suppress(OSError):
            return connection, seen, bound_to(stack, seen.getpeername())
    pytest.fail("every port is in use")


def test_another_connection_of_the_same_port_is_not_taken_for_it(stack: ExitStack) -> None:
    server = Connection(stack, "127.0.0.1", "127.0.0.1").server
    host, port = server.getpeername()
    assert user_of_peer(Seen(server)) == os.geteuid()
    assert user_of_peer(Seen(server, peer=("127.0.0.3", port))) is None
    # Where there is no connection, the kernel tells of who listens there.
    listener = bound_to(stack, ("127.0.0.3", 0))
    listener.listen()
    assert user_of_peer(Seen(server, peer=listener.getsockname())) is None
    assert user_of_peer(Seen(server, local=(host, port))) is None


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        (("192.0.2.1", 4000), ("127.0.0.1", 8080)),
        (("2001:db8::1%lo", 4000, 0, 1), ("::1", 8080, 0, 0)),
        (("127.0.0.1", 4000), ("::1", 8080, 0, 0)),
        ("", "/run/socket"),
        ((), ()),
    ],
)
def test_what_is_no_connection_within_this_machine_has_no_user(
    stack: ExitStack, peer: object, local: object
) -> None:
    server = Connection(stack, "127.0.0.1", "127.0.0.1").server
    assert user_of_peer(Seen(server, peer, local)) is None


def test_where_the_kernel_does_not_answer_there_is_no_user(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(stack, "127.0.0.1", "127.0.0.1")
    # No such protocol of netlink, as where the kernel was built without.
    monkeypatch.setattr(peers, "_NETLINK_SOCK_DIAG", 31)
    assert connection.user() is None


@pytest.mark.usefixtures("other_user")
def test_a_user_without_a_number_in_our_user_namespace_is_nobodys(stack: ExitStack) -> None:
    unshare = ["unshare", "--user", "--map-root-user"]
    if shutil.which(unshare[0]) is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("this host gives no user namespace")
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    command = [*unshare, sys.executable, "-c", IN_A_USER_NAMESPACE, str(listener.fileno())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[listener.fileno()])
    for user in (0, NOBODY):
        with acting_as(user):
            client = stack.enter_context(socket.socket())
        client.connect(listener.getsockname())
    assert process.communicate(timeout=60)[0].split() == ["0", "None"]
