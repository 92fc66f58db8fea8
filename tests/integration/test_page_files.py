"""What the HTTP front door serves to browsers and to Prometheus, spoken to without a browser."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flash_sandbox import HTTPClient, SandboxClient, SandboxNotFoundError
from flash_sandbox.operations import OPERATIONS
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

PAGES = ("/", "/docs")
KEY = "open-sesame"


@pytest.fixture(scope="module")
def secured(limits: Limits) -> Iterator[Orchestrator]:
    with running_orchestrator(limits=limits, api_key=KEY) as running:
        yield running


@pytest.fixture
def door(secured: Orchestrator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=secured.http_address) as client:
        yield client


def referenced(text: str) -> set[str]:
    """Return what a page, a style sheet or a script loads, as it is written there."""
    found = re.findall(r'(?:href|src)="([^"#]+)"|url\("([^"]+)"\)|from "(\./[^"]+)"', text)
    return {next(filter(None, groups)) for groups in found}


class TestFiles:
    def test_all_that_a_page_loads_is_there_and_needs_no_key(self, door: httpx.Client) -> None:
        seen: set[str] = set()
        waiting = list(PAGES)
        while waiting:
            path = waiting.pop()
            response = door.get(path)
            assert response.status_code == 200, path
            seen.add(path)
            assert response.headers["content-type"].split(";")[0] != "application/octet-stream"
            if path.endswith(".json"):
                continue
            for reference in referenced(response.text):
                # From wherever a proxy puts it: no address begins at the root, or at another host.
                assert not re.match(r"/|\w+:", reference), reference
                found = urljoin(path, reference)
                waiting += [found] if found not in seen else []
        shipped = {
            each.name for each in importlib.resources.files("flash_sandbox.orchestrator.page").iterdir()
        }
        assert shipped - {"index.html", "docs.html", "__pycache__"} == {
            path.removeprefix("/page/") for path in seen if path.startswith("/page/")
        }

    @pytest.mark.parametrize("path", [*PAGES, "/page/app.js"])
    def test_a_strict_policy_goes_with_each(self, door: httpx.Client, path: str) -> None:
        headers = door.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
        assert "access-control-allow-origin" not in headers

    def test_head_answers_as_get_without_a_body(self, door: httpx.Client) -> None:
        get, head = door.get("/"), door.head("/")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]

    def test_another_method_has_the_error_body_and_names_the_right_ones(self, door: httpx.Client) -> None:
        response = door.post("/")
        assert (response.status_code, response.json()["reason"]) == (405, "method_not_allowed")
        assert response.json()["request_id"] == response.headers["x-request-id"]
        assert response.headers["allow"] == "GET, HEAD"

    @pytest.mark.parametrize("path", ["/page/", "/page/none.js", "/page/../auth.py", "/page/%2e%2e/auth.py"])
    def test_nothing_else_is_served(self, door: httpx.Client, path: str) -> None:
        assert door.get(path).status_code == 401
        assert door.get(path, headers={"authorization": f"Bearer {KEY}"}).status_code == 404

    def test_the_document_describes_every_operation(self, door: httpx.Client) -> None:
        paths = door.get("/openapi.json").json()["paths"]
        found = {
            one["operationId"] for item in paths.values() for one in item.values() if "operationId" in one
        }
        assert found == {operation.name for operation in OPERATIONS} | {"get_health"}


class TestBrowserHeaders:
    @pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
    def test_what_a_browser_says_comes_from_elsewhere_is_refused(
        self, orchestrator: Orchestrator, site: str
    ) -> None:
        for path in ("/sandboxes", "/healthz", "/metrics", "/nothing"):
            response = httpx.get(orchestrator.http_address + path, headers={"sec-fetch-site": site})
            assert (response.status_code, response.json()["reason"]) == (403, "origin_refused")

    @pytest.mark.parametrize("site", ["same-origin", "none"])
    def test_what_it_says_comes_from_the_page_is_let_in_also_where_a_proxy_has_changed_the_host(
        self, orchestrator: Orchestrator, site: str
    ) -> None:
        headers = {"sec-fetch-site": site, "origin": "https://proxy.example.com"}
        assert httpx.get(f"{orchestrator.http_address}/sandboxes", headers=headers).status_code == 200

    def test_a_link_from_elsewhere_leads_to_the_page(self, orchestrator: Orchestrator) -> None:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        assert httpx.get(orchestrator.http_address, headers=headers).status_code == 200

    def test_a_name_that_was_made_to_resolve_here_does_not_get_the_page(
        self, orchestrator: Orchestrator
    ) -> None:
        response = httpx.get(orchestrator.http_address, headers={"host": "evil.example"})
        assert (response.status_code, response.json()["reason"]) == (403, "origin_refused")

    @pytest.mark.parametrize("host", ["Proxy.Example.com", "proxy.example.com:8443"])
    def test_a_name_that_the_operator_gives_is_let_in_without_a_key(self, limits: Limits, host: str) -> None:
        with running_orchestrator(limits=limits, hosts=["proxy.example.com"]) as running:
            response = httpx.get(f"{running.http_address}/sandboxes", headers={"host": host})
        assert response.status_code == 200


class TestMetrics:
    @staticmethod
    def figures(address: str, name: str, key: str = KEY) -> dict[tuple[str, ...], float]:
        """Return the samples of that name by the values of their labels, by the labels' names."""
        response = httpx.get(f"{address}/metrics", headers={"authorization": f"Bearer {key}"})
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        return {
            tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
            if sample.name == name
        }

    def test_they_need_the_key(self, door: httpx.Client) -> None:
        response = door.get("/metrics")
        assert (response.status_code, response.json()["reason"]) == (401, "unauthenticated")

    def test_calls_are_counted_and_timed_by_operation_and_transport(self, secured: Orchestrator) -> None:
        count, total = "flash_sandbox_call_duration_seconds_count", "flash_sandbox_call_duration_seconds_sum"
        before = self.figures(secured.http_address, count)
        clients = {
            "http": HTTPClient(address=secured.http_address, api_key=KEY),
            "grpc": SandboxClient(address=secured.grpc_address, api_key=KEY),
        }
        for transport, client in clients.items():
            with client:
                for _ in range(3):
                    client.list_sandboxes()
                with pytest.raises(SandboxNotFoundError):
                    client.get_status("nothing")
            key = ("list_sandboxes", transport)
            assert self.figures(secured.http_address, count)[key] == before.get(key, 0) + 3
            assert 0 < self.figures(secured.http_address, total)[key] < 30
            failures = self.figures(secured.http_address, "flash_sandbox_call_failures_total")
            assert failures["get_status", "sandbox_not_found", transport] >= 1

    def test_what_is_no_operation_makes_no_new_figure(
        self, secured: Orchestrator, door: httpx.Client
    ) -> None:
        name = "flash_sandbox_call_duration_seconds_count"
        for number in range(20):
            door.get(f"/nothing/{number}")
            door.request(f"METHOD{number}", "/sandboxes")
        known = {operation.name for operation in OPERATIONS} | {"other"}
        assert {operation for operation, _ in self.figures(secured.http_address, name)} <= known

    def test_sandboxes_are_counted_by_state_and_runtime(self, secured: Orchestrator) -> None:
        name = "flash_sandbox_sandboxes"
        with HTTPClient(address=secured.http_address, api_key=KEY) as client:
            ids = [client.start_sandbox(memory_mb=64) for _ in range(2)]
            client.snapshot_sandbox(ids[0])
            counts = self.figures(secured.http_address, name)
            assert (counts["bubblewrap", "running"], counts["bubblewrap", "paused"]) == (1, 1)
            for sandbox_id in ids:
                client.stop_sandbox(sandbox_id)
        assert not any(self.figures(secured.http_address, name).values())
