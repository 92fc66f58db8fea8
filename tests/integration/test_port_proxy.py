"""Web servers in sandboxes, reached by URL: by the host name of a port, and by a path of the orchestrator."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import websockets.sync.client as websockets
from web_server import COOKIE, KEY, keyless, name_of, sandbox_without_key, serving, token_of
from websockets.exceptions import InvalidStatus

from flash_sandbox import HTTPClient, Sandbox
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

__all__ = ["keyless", "sandbox_without_key"]


@pytest.fixture(scope="module")
def orchestrator(limits: Limits) -> Iterator[Orchestrator]:
    with running_orchestrator(limits=limits, api_key=KEY) as running:
        yield running


@pytest.fixture(scope="module")
def sandbox(orchestrator: Orchestrator) -> Iterator[Sandbox]:
    yield from serving(orchestrator, api_key=KEY)


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


class TestDomain:
    """`--ports-domain`: the names of ports are below a domain of the operator's."""

    @pytest.mark.parametrize(
        ("domain", "scheme", "has_port"),
        [("ports.example.com", "http", True), ("https://ports.example.com", "https", False)],
    )
    def test_names_are_below_it_and_nowhere_else(
        self, limits: Limits, domain: str, scheme: str, has_port: bool
    ) -> None:
        with running_orchestrator(limits=limits, api_key=KEY, ports_domain=domain) as running:
            for sandbox in serving(running, api_key=KEY):
                link, port = urlsplit(sandbox.ports.url(8000)), urlsplit(running.http_address).port
                assert (link.scheme, link.hostname) == (scheme, f"{sandbox.id}--8000.ports.example.com")
                assert link.port == (port if has_port else None)
                answer = ask(running, link.hostname, f"/about?{link.query}", accept="text/html")
                assert (answer.status, answer.headers["Location"]) == (303, "/about")
                assert ("Secure" in answer.headers["Set-Cookie"].split("; ")) == (scheme == "https")
                assert ask(running, link.hostname, f"/?{link.query}").said["path"] == "/"
                # That name is none of a port's here: the orchestrator itself answers.
                assert ask(running, name_of(sandbox), f"/about?{link.query}").status in (401, 404)

    @pytest.mark.parametrize("domain", ["", "ftp://ports.example.com", "http://", "ports.example.com/path"])
    def test_what_is_no_domain_is_refused(self, domain: str) -> None:
        with pytest.raises(ValueError, match="no domain for ports"):
            Orchestrator(ports_domain=domain)


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
