"""Pages of sandboxes in Chromium, by the links of their ports."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from browsing import Browser
from web_server import BASE, COOKIE, KEY, keyless, name_of, sandbox_without_key, serving

from flash_sandbox import HTTPClient, Sandbox
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

__all__ = ["keyless", "sandbox_without_key"]

# Serves a page whose script is told of changes over a WebSocket, and takes them in without loading again.
DEV_SERVER: Final = (
    BASE
    + r'''
import os, time

ROOT = "/tmp/site"
INDEX = b"""<!doctype html><title>dev</title><body><script type="module">
    let version = 0;
    async function show() {
        document.body.textContent = (await import(`/message.js?version=${version++}`)).default;
    }
    const changes = new WebSocket(`ws://${location.host}/changes`);
    changes.onopen = show;
    changes.onmessage = show;
</script></body>"""

class Handler(Base):
    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            return self.tell_changes()
        body, kind = INDEX, "text/html"
        if self.path.startswith("/message.js"):
            body, kind = open(ROOT + "/message.js", "rb").read(), "text/javascript"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def tell_changes(self):
        self.accept_websocket()
        seen = os.stat(ROOT + "/message.js")
        while True:
            time.sleep(0.05)
            now = os.stat(ROOT + "/message.js")
            if (now.st_mtime_ns, now.st_ino) != (seen.st_mtime_ns, seen.st_ino):
                seen = now
                self.wfile.write(b"\x81\x06change")

http.server.ThreadingHTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
'''
)
FETCH: Final = """
    const [url, credentials] = given;
    try { return (await fetch(url, {credentials})).status; } catch (error) { return "refused"; }
"""
POST: Final = """
    const [url, body] = given;
    try { await fetch(url, {method: "POST", mode: "no-cors", credentials: "include", body}); return "sent"; }
    catch (error) { return "refused"; }
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

    def test_what_a_page_sends_to_the_orchestrator_does_nothing(
        self, keyless: Orchestrator, sandbox_without_key: Sandbox, browser: Browser
    ) -> None:
        self.open(browser, sandbox_without_key)
        # A browser sends that without asking first, and shows no answer to the page.
        where = f"http://localhost:{urlsplit(keyless.http_address).port}/sandboxes"
        assert browser.run(POST, where, '{"type": "bubblewrap", "image": "host"}') == "sent"
        with HTTPClient(address=keyless.http_address) as client:
            assert [each.id for each in client.list_sandboxes().sandboxes] == [sandbox_without_key.id]

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


def test_a_page_changes_when_a_file_in_the_sandbox_is_edited(limits: Limits, browser: Browser) -> None:
    with (
        running_orchestrator(limits=limits, api_key=KEY) as orchestrator,
        HTTPClient(address=orchestrator.http_address, api_key=KEY) as client,
        Sandbox.create(client=client, memory_mb=128) as sandbox,
    ):
        sandbox.files.write("/tmp/site/message.js", "export default 'first'", parents=True)
        sandbox.commands.start(["python3", "-c", DEV_SERVER])
        sandbox.ports.wait(3000)
        browser.open(sandbox.ports.url(3000))
        browser.until_text("body", "first")
        browser.run("window.loaded = 'once'")
        for text in ("second", "third"):
            sandbox.files.write("/tmp/site/message.js", f"export default '{text}'")
            browser.until_text("body", text)
        assert browser.run("return window.loaded") == "once"
        browser.open("about:blank")
