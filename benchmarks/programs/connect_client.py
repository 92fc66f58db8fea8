"""Requests by CONNECT: ``connect_client.py PROXY_PORT SITE_PORT TLS_PORT COUNT``; needs no library.

Prints the seconds of each, by what was done, as JSON.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time

_NAME = "site.test"


def connected(proxy: int, port: int, context: ssl.SSLContext | None) -> socket.socket:
    """Return a connection to the site through the proxy, by TLS or not."""
    connection = socket.create_connection(("127.0.0.1", proxy))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(f"CONNECT {_NAME}:{port} HTTP/1.1\r\nHost: {_NAME}:{port}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += connection.recv(1)
    assert b" 200 " in answer, answer
    return connection if context is None else context.wrap_socket(connection, server_hostname=_NAME)


def ask(connection: socket.socket, port: int) -> None:
    """Make a request, and read its answer."""
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {_NAME}:{port}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"ok"):
        got = connection.recv(65536)
        assert got, answer
        answer += got


def main() -> None:
    """Measure."""
    proxy, site, tls, count = map(int, sys.argv[1:])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    times: dict[str, list[float]] = {}
    for scheme, port, used in (("https", tls, context), ("http", site, None)):
        fresh = times[f"{scheme}, a new connection"] = []
        kept = times[f"{scheme}, the same connection"] = []
        for _ in range(count):
            began = time.perf_counter()
            with connected(proxy, port, used) as connection:
                ask(connection, port)
            fresh.append(time.perf_counter() - began)
        with connected(proxy, port, used) as connection:
            ask(connection, port)
            for _ in range(count):
                began = time.perf_counter()
                ask(connection, port)
                kept.append(time.perf_counter() - began)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
