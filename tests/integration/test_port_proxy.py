"""Web servers in sandboxes, reached by URL: by the host name of a port, and by a path of the orchestrator."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import websockets.sync.client as websockets
from browsing import Browser
from websockets.exceptions import InvalidStatus

from flash_sandbox import HTTPClient, Sandbox
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

KEY: Final = "sesame"
COOKIE: Final = "flash_sandbox_link"
SERVER: Final = r"""
import base64, hashlib, http.server, json, socketserver, struct, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            return self.half_closed() if self.path.startswith("/half-closed") else self.websocket()
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(3):
                self.wfile.write(b"2\r\n%d\n\r\n" % number)
                time.sleep(0.3)
            return self.wfile.write(b"0\r\n\r\n")
        if self.path == "/page":
            page = b"<!doctype html><title>page</title><body>served by a sandbox</body>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            return self.wfile.write(page)
        if self.path == "/dies":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        said = {"path": self.path, "headers": self.headers.items(), "body": len(body), "method": self.command}
        answer = json.dumps(said).encode()
        self.send_response(200)
        for name, value in (
            ("Content-Length", len(answer)),
            ("Set-Cookie", "mine=1; Domain=localhost; Path=/"),
            ("Set-Cookie", "flash_sandbox_link=forged; Path=/"),
            ("Clear-Site-Data", '"*"'),
            ("X-Mine", "yes"),
        ):
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_POST = do_HEAD = do_GET

    def half_closed(self):
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.close_connection = True
        if self.path == "/half-closed-by-server":
            self.connection.shutdown(1)
        count = len(self.rfile.read())
        if self.path == "/half-closed-by-server":
            open("/tmp/count", "w").write(str(count))
        else:
            self.wfile.write(str(count).encode())

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key).digest()).decode())
        self.end_headers()
        while True:
            first, second = self.rfile.read(2)
            size = second & 127
            if size == 126:
                (size,) = struct.unpack(">H", self.rfile.read(2))
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(size)))
            head = struct.pack(">BBH", first, 126, size) if size > 125 else bytes([first, size])
            self.wfile.write(head + data)
            self.wfile.flush()
            if first & 15 == 8:
                self.close_connection = True
                return

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    pass

Server(("127.0.0.1", 8000), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def orchestrator(limits: Limits) -> Iterator[Orchestrator]:
    with running_orchestrator(limits=limits, api_key=KEY) as running:
        yield running


@pytest.fixture(scope="module")
def keyless(limits: Limits) -> Iterator[Orchestrator]:
    with running_orchestrator(limits=limits) as running:
        yield running


def serving(orchestrator: Orchestrator, **options: Any) -> Iterator[Sandbox]:
    with (
        HTTPClient(address=orchestrator.http_address, **options) as client,
        Sandbox.create(client=client, memory_mb=128) as sandbox,
    ):
        sandbox.commands.start(["python3", "-c", SERVER])
        sandbox.ports.wait(8000)
        yield sandbox


@pytest.fixture(scope="module")
def sandbox(orchestrator: Orchestrator) -> Iterator[Sandbox]:
    yield from serving(orchestrator, api_key=KEY)


@pytest.fixture(scope="module")
def sandbox_without_key(keyless: Orchestrator) -> Iterator[Sandbox]:
    yield from serving(keyless)


class Answer:
    """What was answered."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.read()

    @property
    def said(self) -> Any:
        """What the server in the sandbox has seen."""
        return json.loads(self.body)

    @property
    def seen(self) -> dict[str, str]:
        """The headers that the server in the sandbox has seen."""
        return {name.lower(): value for name, value in self.said["headers"]}


def ask(
    where: Orchestrator, host: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> Answer:
    """Ask the orchestrator by a host name."""
    address = urlsplit(where.http_address)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"Host": f"{host}:{address.port}", **given})
    try:
        return Answer(connection.getresponse())
    finally:
        connection.close()


def name_of(sandbox: Sandbox, port: int = 8000) -> str:
    return f"{sandbox.id}--{port}.localhost"


def token_of(sandbox: Sandbox, port: int = 8000, ttl: float = 60) -> str:
    return urlsplit(sandbox.ports.url(port, ttl=ttl)).query.partition("=")[2]


class TestByName:
    def test_a_program_follows_the_link(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        link = urlsplit(sandbox.ports.url(8000))
        assert link.hostname == name_of(sandbox)
        assert link.port == urlsplit(orchestrator.http_address).port
        answer = ask(orchestrator, link.hostname, f"/?a=1&{link.query}&b=2")
        assert (answer.status, answer.said["path"], answer.headers["X-Mine"]) == (200, "/?a=1&b=2", "yes")

    def test_a_browser_gets_a_cookie_which_the_server_never_sees(
        self, orchestrator: Orchestrator, sandbox: Sandbox
    ) -> None:
        host, token = name_of(sandbox), token_of(sandbox)
        first = ask(orchestrator, host, f"/about?{COOKIE}={token}", accept="text/html,*/*")
        assert (first.status, first.headers["Location"]) == (303, "/about")
        cookie = first.headers["Set-Cookie"]
        assert cookie.startswith(f"{COOKIE}={token};")
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
        second = ask(orchestrator, host, "/about", cookie=f"other=1; {COOKIE}={token}; third=3")
        assert second.said["path"] == "/about"
        assert second.seen["cookie"] == "other=1; third=3"
        assert COOKIE not in str(second.said)

    def test_cookies_of_the_server_are_for_its_own_name_alone(
        self, orchestrator: Orchestrator, sandbox: Sandbox
    ) -> None:
        answer = ask(orchestrator, name_of(sandbox), f"/?{COOKIE}={token_of(sandbox)}")
        assert answer.headers.get_all("Set-Cookie") == ["mine=1; Path=/"]
        assert answer.headers["Clear-Site-Data"] is None

    def test_the_key_goes_no_further_and_other_authorization_does(
        self, orchestrator: Orchestrator, sandbox: Sandbox
    ) -> None:
        host = name_of(sandbox)
        assert "authorization" not in ask(orchestrator, host, "/", authorization=f"Bearer {KEY}").seen
        by_link = ask(orchestrator, host, f"/?{COOKIE}={token_of(sandbox)}", authorization="Basic abc")
        assert by_link.seen["authorization"] == "Basic abc"

    @pytest.mark.parametrize("key", ["", "Bearer wrong"])
    def test_without_key_and_link_nobody_gets_in(
        self, orchestrator: Orchestrator, sandbox: Sandbox, key: str
    ) -> None:
        headers = {"authorization": key} if key else {}
        assert ask(orchestrator, name_of(sandbox), "/", **headers).status == 401

    def test_a_link_is_good_for_one_port_of_one_sandbox_and_for_its_time(
        self, orchestrator: Orchestrator, sandbox: Sandbox
    ) -> None:
        token = token_of(sandbox)
        assert ask(orchestrator, name_of(sandbox, 8001), f"/?{COOKIE}={token}").status == 401
        assert ask(orchestrator, f"{'0' * 20}--8000.localhost", f"/?{COOKIE}={token}").status == 401
        assert ask(orchestrator, name_of(sandbox), f"/?{COOKIE}=9{token}").status == 401
        short = token_of(sandbox, ttl=0.01)
        time.sleep(1.1)
        assert ask(orchestrator, name_of(sandbox), f"/?{COOKIE}={short}").status == 401
        assert ask(orchestrator, name_of(sandbox), "/", cookie=f"{COOKIE}={short}").status == 401

    def test_the_next_orchestrator_knows_a_link(self, tmp_path: Path, limits: Limits) -> None:
        with (
            running_orchestrator(limits=limits, api_key=KEY, state_dir=tmp_path) as first,
            HTTPClient(address=first.http_address, api_key=KEY) as client,
            Sandbox.create(client=client) as sandbox,
        ):
            name, token = name_of(sandbox), token_of(sandbox)
        with running_orchestrator(limits=limits, api_key=KEY, state_dir=tmp_path) as second:
            # The sandbox went with the first one.
            assert ask(second, name, f"/?{COOKIE}={token}").status == 404
            assert ask(second, name, f"/?{COOKIE}=9{token}").status == 401

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
            ({"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"}, 403),
            ({"origin": "http://other--8000.localhost"}, 403),
            ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}, 403),
            (
                {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"},
                200,
            ),
            ({"sec_fetch_site": "same-origin", "sec_fetch_mode": "cors"}, 200),
            ({"sec_fetch_site": "none", "sec_fetch_mode": "navigate"}, 200),
        ],
    )
    def test_a_page_of_another_origin_may_only_link_here(
        self, orchestrator: Orchestrator, sandbox: Sandbox, headers: dict[str, str], status: int
    ) -> None:
        cookie = f"{COOKIE}={token_of(sandbox)}"
        assert ask(orchestrator, name_of(sandbox), "/", cookie=cookie, **headers).status == status

    def test_the_name_of_a_port_never_leads_to_the_orchestrator(
        self, orchestrator: Orchestrator, sandbox: Sandbox
    ) -> None:
        answer = ask(orchestrator, name_of(sandbox), "/sandboxes", authorization=f"Bearer {KEY}")
        assert answer.said["path"] == "/sandboxes"
        gone = ask(orchestrator, f"{'0' * 20}--8000.localhost", "/sandboxes", authorization=f"Bearer {KEY}")
        assert (gone.status, gone.said["reason"]) == (404, "sandbox_not_found")

    def test_nothing_that_listens_is_an_error(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        answer = ask(orchestrator, name_of(sandbox, 81), "/", authorization=f"Bearer {KEY}")
        assert (answer.status, answer.said["reason"]) == (409, "port_closed")

    def test_a_body_is_passed_on(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        answer = ask(
            orchestrator, name_of(sandbox), "/", "POST", bytes(3_000_000), authorization=f"Bearer {KEY}"
        )
        assert (answer.said["method"], answer.said["body"]) == ("POST", 3_000_000)

    def test_a_head_has_no_body(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        answer = ask(orchestrator, name_of(sandbox), "/", "HEAD", authorization=f"Bearer {KEY}")
        assert (answer.status, answer.body) == (200, b"")

    def test_an_answer_comes_as_it_is_made(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        address = urlsplit(orchestrator.http_address)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        headers = {"Host": f"{name_of(sandbox)}:{address.port}", "Authorization": f"Bearer {KEY}"}
        connection.request("GET", "/stream", headers=headers)
        answer = connection.getresponse()
        assert answer.readline() == b"0\n"
        began = time.monotonic()
        assert answer.read() == b"1\n2\n"
        assert time.monotonic() - began > 0.3
        connection.close()

    def test_an_answer_that_breaks_off_is_no_whole_one(
        self, orchestrator: Orchestrator, sandbox: Sandbox
    ) -> None:
        with pytest.raises(http.client.IncompleteRead):
            ask(orchestrator, name_of(sandbox), "/dies", authorization=f"Bearer {KEY}")


class TestWithoutKey:
    def test_ones_own_programs_get_in_and_pages_of_other_origins_do_not(
        self, keyless: Orchestrator, sandbox_without_key: Sandbox
    ) -> None:
        host = name_of(sandbox_without_key)
        assert ask(keyless, host, "/").status == 200
        for site in ("cross-site", "same-site"):
            refused = ask(
                keyless, host, "/", sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="document"
            )
            assert refused.status == 403

    def test_a_page_of_a_sandbox_cannot_call_the_orchestrator(
        self, keyless: Orchestrator, sandbox_without_key: Sandbox
    ) -> None:
        origin = f"http://{name_of(sandbox_without_key)}:{urlsplit(keyless.http_address).port}"
        assert ask(keyless, "localhost", "/sandboxes", origin=origin).status == 403
        assert ask(keyless, "localhost", "/sandboxes", sec_fetch_site="cross-site").status == 403


class TestByPath:
    def test_a_page_has_neither_origin_nor_scripts_nor_cookies(
        self, orchestrator: Orchestrator, sandbox: Sandbox
    ) -> None:
        path = f"/sandboxes/{sandbox.id}/ports/8000"
        answer = ask(
            orchestrator, "localhost", f"{path}/a%2Fb?c=d", authorization=f"Bearer {KEY}", cookie="a=b"
        )
        assert answer.said["path"] == "/a%2Fb?c=d"
        assert not {"authorization", "cookie"} & answer.seen.keys()
        assert answer.headers["Content-Security-Policy"] == "sandbox"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Set-Cookie"] is None

    def test_the_slash_behind_the_port_is_added(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        path = f"/sandboxes/{sandbox.id}/ports/8000"
        answer = ask(orchestrator, "localhost", path, authorization=f"Bearer {KEY}")
        assert (answer.status, answer.headers["Location"]) == (307, "8000/")

    def test_a_link_lets_in_and_nothing_does_not(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        path = f"/sandboxes/{sandbox.id}/ports/8000/"
        assert ask(orchestrator, "localhost", f"{path}?{COOKIE}={token_of(sandbox)}").status == 200
        assert ask(orchestrator, "localhost", path).status == 401
        assert ask(orchestrator, "localhost", path, cookie=f"{COOKIE}={token_of(sandbox)}").status == 401

    def test_no_service_worker_is_served(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        path = f"/sandboxes/{sandbox.id}/ports/8000/worker.js"
        headers = {"authorization": f"Bearer {KEY}", "service_worker": "script"}
        assert ask(orchestrator, "localhost", path, **headers).status == 403


class TestWebSocket:
    def connect(self, where: Orchestrator, host: str, path: str, **options: Any) -> Any:
        address = urlsplit(where.http_address)
        return websockets.connect(
            f"ws://{host}:{address.port}{path}",
            compression=None,
            sock=socket.create_connection((address.hostname, address.port)),
            **options,
        )

    def test_messages_go_both_ways(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        by_name = self.connect(orchestrator, name_of(sandbox), f"/?{COOKIE}={token_of(sandbox)}")
        key = {"Authorization": f"Bearer {KEY}"}
        by_path = self.connect(
            orchestrator, "localhost", f"/sandboxes/{sandbox.id}/ports/8000/", additional_headers=key
        )
        for both in (by_name, by_path):
            with both:
                for text in ("hello", "x" * 60_000, "bye"):
                    both.send(text)
                    assert both.recv(timeout=10) == text

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 401),
            ({"Authorization": f"Bearer {KEY}", "Sec-Fetch-Site": "cross-site"}, 403),
        ],
    )
    def test_who_may_not_is_refused(
        self, orchestrator: Orchestrator, sandbox: Sandbox, headers: dict[str, str], status: int
    ) -> None:
        path = f"/sandboxes/{sandbox.id}/ports/8000/"
        with pytest.raises(InvalidStatus) as refused:
            self.connect(orchestrator, "localhost", path, additional_headers=headers)
        assert refused.value.response.status_code == status

    def test_a_page_of_another_origin_is_refused(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        cookie = {"Cookie": f"{COOKIE}={token_of(sandbox)}"}
        with pytest.raises(InvalidStatus) as refused:
            self.connect(
                orchestrator,
                name_of(sandbox),
                "/",
                additional_headers=cookie,
                origin="http://other--8000.localhost",  # type: ignore[arg-type]
            )
        assert refused.value.response.status_code == 403

    def test_nothing_that_listens_is_an_error(self, orchestrator: Orchestrator, sandbox: Sandbox) -> None:
        with pytest.raises(InvalidStatus) as refused:
            self.connect(orchestrator, name_of(sandbox, 81), f"/?{COOKIE}={token_of(sandbox, 81)}")
        assert refused.value.response.status_code == 409


class TestHalfClosed:
    """Connections on which one side has said all, once they have left HTTP."""

    def begin(self, where: Orchestrator, sandbox: Sandbox, path: str) -> socket.socket:
        address = urlsplit(where.http_address)
        local = socket.create_connection((address.hostname, address.port), timeout=20)
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {name_of(sandbox)}:{address.port}",
            f"Authorization: Bearer {KEY}",
            "Connection: Upgrade",
            "Upgrade: websocket",
        )
        local.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += local.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        return local

    def test_a_caller_that_has_closed_its_side_is_answered(
        self, orchestrator: Orchestrator, sandbox: Sandbox
    ) -> None:
        with self.begin(orchestrator, sandbox, "/half-closed") as local:
            local.sendall(bytes(1_000_000))
            local.shutdown(socket.SHUT_WR)
            assert local.makefile("rb").read() == b"1000000"

    def test_a_server_that_has_closed_its_side_is_sent_more(
        self, orchestrator: Orchestrator, sandbox: Sandbox
    ) -> None:
        with self.begin(orchestrator, sandbox, "/half-closed-by-server") as local:
            assert local.recv(1) == b""
            local.sendall(bytes(1_000_000))
            local.shutdown(socket.SHUT_WR)
            result = sandbox.run("until [ -s /tmp/count ]; do sleep 0.02; done; cat /tmp/count", limit=20)
            assert result.stdout == "1000000"


FETCH: Final = """
    const [url, credentials] = given;
    try { return (await fetch(url, {credentials})).status; } catch (error) { return "refused"; }
"""
WEBSOCKET: Final = """
    const socket = new WebSocket(given[0]);
    return await new Promise((resolve) => {
        socket.onopen = () => socket.send("from the page");
        socket.onmessage = (event) => resolve(event.data);
        socket.onerror = () => resolve("refused");
    });
"""


class TestBrowser:
    """Pages of sandboxes in Chromium, which runs as the orchestrator's own user: it needs no key."""

    def open(self, browser: Browser, sandbox: Sandbox) -> str:
        """Open the page of a sandbox by a link, and return its origin."""
        link = urlsplit(sandbox.ports.url(8000))
        browser.open(f"http://{link.netloc}/page?{link.query}")
        assert browser.run("return location.pathname + location.search") == "/page"
        return f"http://{link.netloc}"

    def test_a_page_uses_its_own_server_and_websockets(
        self, keyless: Orchestrator, sandbox_without_key: Sandbox, browser: Browser
    ) -> None:
        origin = self.open(browser, sandbox_without_key)
        assert browser.text("body") == "served by a sandbox"
        assert browser.run(FETCH, f"{origin}/", "include") == 200
        assert browser.run(WEBSOCKET, origin.replace("http", "ws") + "/") == "from the page"

    def test_a_page_reaches_neither_the_orchestrator_nor_another_sandbox(
        self, keyless: Orchestrator, sandbox_without_key: Sandbox, browser: Browser
    ) -> None:
        port = urlsplit(keyless.http_address).port
        other = next(others := serving(keyless))
        try:
            self.open(browser, other)
            theirs = self.open(browser, sandbox_without_key)
            for host in ("localhost", "127.0.0.1"):
                assert browser.run(FETCH, f"http://{host}:{port}/sandboxes", "include") == "refused"
            away = f"//{name_of(other)}:{port}/"
            assert browser.run(FETCH, f"http:{away}", "include") == "refused"
            assert browser.run(WEBSOCKET, f"ws:{away}") == "refused"
            assert browser.run(FETCH, f"{theirs}/", "include") == 200
        finally:
            others.close()

    def test_a_page_cannot_set_or_read_cookies_of_another_sandbox(
        self, keyless: Orchestrator, sandbox_without_key: Sandbox, browser: Browser
    ) -> None:
        other = next(others := serving(keyless))
        try:
            self.open(browser, sandbox_without_key)
            browser.run("document.cookie = 'own=1'; document.cookie = 'wide=1; domain=localhost'")
            found = browser.run("return document.cookie")
            assert "own=1" in found
            assert "wide=1" not in found
            origin = self.open(browser, other)
            # The server itself may have set one already, for the icon.
            assert browser.run("return document.cookie") in ("", "mine=1")
            seen = browser.run("return (await fetch(given[0])).text()", f"{origin}/")
            assert not {"own=1", "wide=1", COOKIE} & set(seen.replace(";", " ").split())
        finally:
            others.close()

    def test_a_page_under_a_path_runs_no_scripts(
        self, keyless: Orchestrator, sandbox_without_key: Sandbox, browser: Browser
    ) -> None:
        browser.open(f"{keyless.http_address}/sandboxes/{sandbox_without_key.id}/ports/8000/page")
        assert browser.text("body") == "served by a sandbox"
        assert browser.run("return origin") == "null"
