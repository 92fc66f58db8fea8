"""The HTTP front door, spoken to without any client of ours."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from flash_sandbox.codecs import MAX_REQUEST_BYTES
from flash_sandbox.orchestrator import Orchestrator


@pytest.fixture
def door(orchestrator: Orchestrator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=orchestrator.http_address) as client:
        yield client


@pytest.fixture
def sandbox(door: httpx.Client) -> Iterator[str]:
    sandbox_id: str = door.post("/sandboxes", json={"type": "bubblewrap"}).json()["id"]
    yield sandbox_id
    door.delete(f"/sandboxes/{sandbox_id}")


def error_of(response: httpx.Response, status_code: int, reason: str) -> dict[str, object]:
    """Check that an answer is the Error of the specification, and return it."""
    body: dict[str, object] = response.json()
    assert (response.status_code, body["reason"]) == (status_code, reason)
    assert set(body) == {"detail", "reason", "request_id", "retryable"}
    assert body["request_id"] == response.headers["x-request-id"]
    return body


class TestMethods:
    def test_health_needs_nothing(self, door: httpx.Client) -> None:
        assert door.get("/healthz").json()["status"] == "ok"

    def test_an_unknown_path_has_the_error_body(self, door: httpx.Client) -> None:
        error_of(door.get("/elsewhere"), 404, "not_found")

    def test_another_method_has_the_error_body_and_names_the_right_ones(self, door: httpx.Client) -> None:
        response = door.put("/sandboxes/some")
        error_of(response, 405, "method_not_allowed")
        assert response.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"

    def test_options_names_the_methods(self, door: httpx.Client) -> None:
        response = door.options("/sandboxes")
        assert (response.status_code, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")

    def test_head_answers_as_get_without_a_body(self, door: httpx.Client, sandbox: str) -> None:
        get, head = door.get(f"/sandboxes/{sandbox}"), door.head(f"/sandboxes/{sandbox}")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]

    def test_every_answer_is_dated(self, door: httpx.Client) -> None:
        assert door.get("/healthz").headers["date"].endswith(" GMT")


class TestRequests:
    @pytest.mark.parametrize(
        "stdin", ["aGk=!", "aG k=", "aGk=\\n", "aGk", "aGk==", "=aGk", "aGk=aGk=", "a-_=", "\\u0061Gk=!", "é"]
    )
    @pytest.mark.parametrize("more", ["", ', "env": {"A": "1"}'], ids=["flat", "nested"])
    def test_bytes_that_are_not_exactly_base64_are_refused(
        self, door: httpx.Client, stdin: str, more: str
    ) -> None:
        body = f'{{"command":["cat"],"stdin":"{stdin}"{more}}}'
        response = door.post("/sandboxes/some/exec", content=body.encode())
        assert "stdin is not base64" in str(error_of(response, 400, "invalid_argument")["detail"])

    def test_bytes_that_are_base64_arrive(self, door: httpx.Client, sandbox: str) -> None:
        for stdin in ("aGk=", "\\u0061Gk="):
            body = f'{{"command":["cat"],"stdin":"{stdin}"}}'
            response = door.post(f"/sandboxes/{sandbox}/exec", content=body.encode())
            assert response.json()["stdout"] == "hi"

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"null", b"\xff", b'{"command": "ls"}', b'{"memory_mb": "x"}']
    )
    def test_a_malformed_body_is_an_invalid_argument(self, door: httpx.Client, body: bytes) -> None:
        error_of(door.post("/sandboxes", content=body), 400, "invalid_argument")

    def test_a_body_that_is_too_large_is_refused_by_its_announced_length(self, door: httpx.Client) -> None:
        error_of(door.post("/sandboxes", content=b"x" * (MAX_REQUEST_BYTES + 1)), 413, "too_large")

    def test_a_body_that_grows_too_large_is_refused(self, door: httpx.Client) -> None:
        chunks = (b"x" * 2**20 for _ in range(MAX_REQUEST_BYTES // 2**20 + 1))
        error_of(door.post("/sandboxes", content=chunks), 413, "too_large")

    def test_the_largest_body_is_read(self, door: httpx.Client) -> None:
        body = b'{"type": "unknown"' + b" " * (MAX_REQUEST_BYTES - 19) + b"}"
        error_of(door.post("/sandboxes", content=body), 400, "unknown_runtime")

    def test_what_is_no_http_has_the_error_body(self, orchestrator: Orchestrator) -> None:
        with connect(orchestrator) as connection:
            connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
            response = http.client.HTTPResponse(connection)
            response.begin()
            body = json.loads(response.read())
        assert (response.status, body["reason"]) == (400, "invalid_argument")
        assert body["request_id"] == response.getheader("x-request-id")

    def test_garbage_after_a_request_ends_only_the_connection(
        self, door: httpx.Client, orchestrator: Orchestrator
    ) -> None:
        with connect(orchestrator) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n\x00\x01garbage\r\n\r\n")
            while connection.recv(65536):
                pass
        assert door.get("/healthz").status_code == 200


class TestRequestID:
    def test_a_well_formed_one_is_kept(self, door: httpx.Client) -> None:
        response = door.get("/sandboxes/unknown", headers={"x-request-id": "Mine-1.a_b"})
        assert error_of(response, 404, "sandbox_not_found")["request_id"] == "Mine-1.a_b"

    @pytest.mark.parametrize("malformed", ["", "two words", "x" * 65, "a;b"])
    def test_another_one_is_replaced(self, door: httpx.Client, malformed: str) -> None:
        response = door.get("/healthz", headers={"x-request-id": malformed})
        assert response.headers["x-request-id"] not in ("", malformed)


class TestDeadline:
    def test_the_work_stops(self, door: httpx.Client, sandbox: str) -> None:
        response = door.post(
            f"/sandboxes/{sandbox}/exec",
            json={"command": ["sleep", "4750"]},
            headers={"x-request-timeout-ms": "100"},
        )
        error_of(response, 504, "deadline_exceeded")
        wait_until_no_process(door, sandbox, "sleep 4750")

    @pytest.mark.parametrize("malformed", ["0", "-1", "1.5", "soon", ""])
    def test_a_malformed_one_is_refused(self, door: httpx.Client, malformed: str) -> None:
        response = door.get("/sandboxes/unknown", headers={"x-request-timeout-ms": malformed})
        error_of(response, 400, "invalid_argument")


class TestClientGone:
    def test_a_command_ends_when_its_client_hangs_up(
        self, door: httpx.Client, sandbox: str, orchestrator: Orchestrator
    ) -> None:
        body = json.dumps({"command": ["sleep", "4751"]}).encode()
        with connect(orchestrator) as connection:
            connection.sendall(
                b"POST /sandboxes/%s/exec HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%s"
                % (sandbox.encode(), len(body), body)
            )
            wait_for_process(door, sandbox, "sleep 4751")
        wait_until_no_process(door, sandbox, "sleep 4751")


class TestBrowser:
    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
    def test_a_page_of_another_origin_is_refused(self, door: httpx.Client, origin: str) -> None:
        response = door.post("/sandboxes", json={}, headers={"origin": origin})
        error_of(response, 403, "origin_refused")

    def test_a_page_of_the_same_origin_is_let_in(self, door: httpx.Client) -> None:
        origin = f"http://{door.base_url.host}:{door.base_url.port}"
        assert door.get("/healthz", headers={"origin": origin}).status_code == 200

    @pytest.mark.parametrize(
        "name",
        [
            "evil.example",
            "evillocalhost",
            "evil-localhost",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ],
    )
    def test_a_name_that_was_made_to_resolve_here_is_refused(self, door: httpx.Client, name: str) -> None:
        response = door.get("/sandboxes/some", headers={"host": f"{name}:{door.base_url.port}"})
        error_of(response, 403, "origin_refused")

    @pytest.mark.parametrize(
        "host",
        ["localhost", "LocalHost:1", "127.0.0.1:8080", "[::1]:8080", "app.localhost", "a.b.localhost:1"],
    )
    def test_names_of_this_machine_are_let_in(self, door: httpx.Client, host: str) -> None:
        assert door.get("/healthz", headers={"host": host}).status_code == 200


class TestIdempotency:
    def start(self, door: httpx.Client, key: str, memory_mb: int = 64) -> httpx.Response:
        body = {"type": "bubblewrap", "memory_mb": memory_mb}
        return door.post("/sandboxes", json=body, headers={"idempotency-key": key})

    def test_the_same_start_again_is_the_same_sandbox(self, door: httpx.Client) -> None:
        first, second = self.start(door, "again").json()["id"], self.start(door, "again").json()["id"]
        door.delete(f"/sandboxes/{first}")
        assert first == second

    def test_another_start_with_the_key_is_a_conflict(self, door: httpx.Client) -> None:
        first = self.start(door, "other").json()["id"]
        response = self.start(door, "other", memory_mb=65)
        door.delete(f"/sandboxes/{first}")
        error_of(response, 409, "already_exists")

    def test_the_key_is_free_once_the_sandbox_was_stopped(self, door: httpx.Client) -> None:
        first = self.start(door, "free").json()["id"]
        door.delete(f"/sandboxes/{first}")
        second = self.start(door, "free").json()["id"]
        door.delete(f"/sandboxes/{second}")
        assert first != second

    def test_starts_at_the_same_time_make_one_sandbox(self, door: httpx.Client) -> None:
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.append(self.start(door, "race").json()["id"]))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        door.delete(f"/sandboxes/{found[0]}")
        assert len(found) == 8
        assert len(set(found)) == 1

    def test_a_malformed_key_is_refused(self, door: httpx.Client) -> None:
        error_of(self.start(door, "two words"), 400, "invalid_argument")


def connect(orchestrator: Orchestrator) -> socket.socket:
    where = urlsplit(orchestrator.http_address)
    assert where.hostname is not None
    return socket.create_connection((where.hostname, where.port or 80), timeout=10)


def has_process(door: httpx.Client, sandbox: str, text: str) -> bool:
    script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    answer = door.post(f"/sandboxes/{sandbox}/exec", json={"command": ["sh", "-c", script]}).json()
    return text in answer["stdout"]


def wait_for_process(door: httpx.Client, sandbox: str, text: str, *, there: bool = True) -> None:
    deadline = time.monotonic() + 10
    while has_process(door, sandbox, text) is not there:
        assert time.monotonic() < deadline, f"{text}: still not {there}"


def wait_until_no_process(door: httpx.Client, sandbox: str, text: str) -> None:
    wait_for_process(door, sandbox, text, there=False)


def test_upgrade_that_is_not_supported_is_ignored_and_fills_no_log(
    orchestrator: Orchestrator, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket"}
    assert httpx.get(f"{orchestrator.http_address}/healthz", headers=headers).status_code == 200
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]
