"""The page at ``/``, in a real browser, over a live orchestrator."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import layouts
import pytest
from browsing import REBOUND, Browser, Keys

from flash_sandbox import HTTPClient, Sandbox, SandboxError
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

KEY = "open-sesame"
MARKUP = "<img src=x onerror=\"document.title='run'\"><b>bold</b>"

ROW = "#rows tr"
WIDTHS = (360, 768, 1024, 1600)


@pytest.fixture(scope="module")
def serving(limits: Limits) -> Iterator[Orchestrator]:
    """Run an orchestrator that has no other test's sandboxes."""
    with running_orchestrator(limits=limits) as running:
        yield running


@pytest.fixture
def client(serving: Orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=serving.http_address) as client:
        yield client


@pytest.fixture
def started(client: HTTPClient) -> Iterator[ExitStack]:
    """Holds the sandboxes of a test, which are stopped at its end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def sandbox(client: HTTPClient, started: ExitStack) -> Sandbox:
    """One sandbox for a test."""
    return start(client, started, name="one", labels={"team": "a"}, ttl=3600)


@pytest.fixture
def page(browser: Browser, serving: Orchestrator) -> Iterator[Browser]:
    """Open the page, which is to give the browser nothing to complain of."""
    browser.open(serving.http_address, width=1600)
    yield browser
    assert browser.console() == []


def start(client: HTTPClient, stack: ExitStack, **options: object) -> Sandbox:
    created = Sandbox.create(client=client, **{"memory_mb": 64, **options})  # type: ignore[arg-type]
    stack.callback(stop, client, created.id)
    return created


def stop(client: HTTPClient, sandbox_id: str) -> None:
    if sandbox_id in [info.id for info in client.list_sandboxes().sandboxes]:
        client.stop_sandbox(sandbox_id)


def select(page: Browser, name: str = "one") -> None:
    page.click(f"{ROW} .name", name)
    page.until_text(".details h2", name)


def open_terminal(page: Browser) -> None:
    page.click("#tab-Terminal")
    page.until(lambda: re.search(r"[#$] *$", page.text(".screen").strip()), "a prompt")


class TestList:
    def test_it_tells_what_is_known_of_each(self, sandbox: Sandbox, page: Browser) -> None:
        page.until_text(ROW, "one")
        found = {name: page.text(f"{ROW} td.{name}") for name in ("state", "sandbox", "runtime", "labels")}
        assert found == {
            "state": "running",
            "sandbox": f"one\n{sandbox.id}",
            "runtime": "bubblewrap\nhost",
            "labels": "team=a",
        }
        assert re.fullmatch(r"\d+ s", page.text(f"{ROW} td.age"))
        assert re.fullmatch(r"in (1 h 0|59) min", page.text(f"{ROW} td.expires"))
        assert page.text("#counts") == "1 sandbox\n1 running"

    def test_without_any_it_says_how_to_start_one(self, page: Browser) -> None:
        page.until_text("#empty", "Sandbox.create")
        assert page.count(ROW) == 0

    def test_it_follows_what_happens(self, client: HTTPClient, started: ExitStack, page: Browser) -> None:
        page.until_text("#live", "live")
        other = start(client, started, name="later")
        page.until_text(ROW, "running")
        page.until(lambda: "running" in page.texts("#events .what"), "the event")
        page.until(lambda: page.texts("#events .who") == ["later", "later"], "its name")
        other.snapshot_sandbox()
        page.until_text(ROW, "paused")
        other.stop_sandbox()
        page.until(lambda: page.count(ROW) == 0, "the row to go")
        assert page.texts("#events .what") == ["removed", "paused", "running", "created"]

    def test_many_come_page_by_page(self, client: HTTPClient, started: ExitStack, page: Browser) -> None:
        for number in range(23):
            start(client, started, name=f"many-{number}")
        page.until(lambda: page.text("#pager span") == "1 to 20 of 23", "the first page")
        assert page.count(ROW) == 20
        page.click("#pager button", "Next")
        assert page.texts(f"{ROW} .name") == ["many-2", "many-1", "many-0"]
        page.run("document.getElementById('filter').value = 'MANY-1'")
        page.click("#filter")
        page.type("2")
        page.until(lambda: page.texts(f"{ROW} .name") == ["many-12"], "what matches")

    def test_the_keyboard_is_enough(self, client: HTTPClient, started: ExitStack, page: Browser) -> None:
        for name in ("first", "second", "third"):
            start(client, started, name=name)
        page.until(lambda: page.count(ROW) == 3, "all of them")
        page.type("/")
        page.type("ir")
        page.until(lambda: page.texts(f"{ROW} .name") == ["third", "first"], "what matches")
        page.run("document.querySelector('#rows a').focus()")
        page.type(Keys.ARROW_DOWN)
        page.type(Keys.ENTER)
        page.until_text(".details h2", "first")
        page.type(Keys.ESCAPE)
        page.until(lambda: page.count(".details") == 0, "the details to close")

    @pytest.mark.parametrize("width", WIDTHS)
    def test_nothing_sticks_out(self, sandbox: Sandbox, page: Browser, width: int) -> None:
        page.resize(width)
        select(page)
        for tab in ("Usage", "Terminal", "Output"):
            page.click(f"#tab-{tab}")
            assert page.run("return document.documentElement.scrollWidth") <= width

    def test_it_is_light_or_dark_as_the_reader_has_it(self, browser: Browser, serving: Orchestrator) -> None:
        colours = []
        for scheme in ("light", "dark"):
            browser.open(serving.http_address, scheme=scheme)
            colour = browser.run("return getComputedStyle(document.body).backgroundColor")
            colours.append(sum(map(int, re.findall(r"\d+", colour))))
        assert colours[0] > 600 > 150 > colours[1]


class TestDetails:
    def test_plots_show_what_is_used(self, sandbox: Sandbox, page: Browser) -> None:
        drawn = f"return document.querySelector('{ROW} .memory .line').getAttribute('d')"
        page.until(lambda: page.count(ROW) and page.run(drawn), "a line in the row")
        select(page)
        page.until(lambda: all(page.texts("figcaption .now")), "the figures")
        page.until(lambda: "no samples yet" not in page.texts("figcaption .now"), "the first sample")
        memory, cpu, network, disk = page.texts("figcaption .now")
        assert re.fullmatch(r"[\d.]+ [KM]iB( of 64 MiB)?", memory)
        assert cpu.endswith(" %")
        assert network == "in 0 B/s · out 0 B/s"
        assert disk.startswith("read ")
        page.until(lambda: page.count(".plot .line") == 6, "all of the lines")

    def test_stop_asks_first(self, sandbox: Sandbox, page: Browser) -> None:
        select(page)
        page.click(".details button", "Stop")
        page.until_text("#ask", "Stop one?")
        page.click("#no")
        assert sandbox.get_status() == "running"
        page.click(".details button", "Stop")
        page.click("#yes")
        page.until(lambda: page.count(ROW) == 0, "the row to go")
        with pytest.raises(SandboxError, match="there is no sandbox"):
            sandbox.get_status()

    def test_snapshot_and_pause_freeze_and_resume_runs_on(
        self, client: HTTPClient, sandbox: Sandbox, page: Browser
    ) -> None:
        select(page)
        snapshots = len(client.list_snapshots())
        page.click(".details button", "Snapshot")
        page.until_text(".details .badge", "paused")
        # It is there once its files are, somewhat later.
        snapshot = page.until(lambda: client.list_snapshots()[snapshots:], "the snapshot")[0]
        page.until_text(".message", snapshot.id)
        page.click(".details button", "Resume")
        page.until_text(".details .badge", "running")
        page.click(".details button", "Pause")
        page.until_text(".details .badge", "paused")
        assert len(client.list_snapshots()) == snapshots + 1

    def test_a_snapshot_is_listed_started_from_and_removed(
        self, client: HTTPClient, sandbox: Sandbox, started: ExitStack, page: Browser
    ) -> None:
        sandbox.files.write("/root/file", "kept")
        made = sandbox.snapshot(name="base", labels={"of": MARKUP})
        page.until_text("#snapshots .name", "base")
        assert page.text("#snapshots .label") == f"of={MARKUP}"
        page.click("#snapshots button", "Restore")
        copy = page.until(lambda: page.run("return location.hash.slice(1)"), "the copy to be shown")
        started.callback(client.stop_sandbox, copy)
        assert client.read_file(copy, "/root/file") == b"kept"
        page.click(".details button", "Fork")
        page.until_text(".message", "Its copy is")
        fork = page.text(".message").rpartition(" ")[2]
        started.callback(client.stop_sandbox, fork)
        assert client.read_file(fork, "/root/file") == b"kept"
        page.click("#snapshots button", "Remove")
        page.click("#yes")
        page.until(lambda: "base" not in page.texts("#snapshots .name"), "the snapshot to go")
        assert made.id not in [info.id for info in client.list_snapshots()]

    def test_what_fails_says_why(self, sandbox: Sandbox, page: Browser) -> None:
        select(page)
        sandbox.snapshot_sandbox()
        page.until_text(".details .badge", "paused")
        page.click("#tab-Terminal")
        page.until_text(".bar", "is paused; this needs a sandbox that is running")
        assert any("409" in line for line in page.console())

    def test_output_of_the_main_process_is_shown(
        self, client: HTTPClient, started: ExitStack, page: Browser
    ) -> None:
        start(client, started, name="one", command=["sh", "-c", "echo ünïcödé; exec tail -f /dev/null"])
        select(page)
        page.click("#tab-Output")
        page.until_text(".output", "ünïcödé")


class TestTerminal:
    def test_it_runs_commands(self, sandbox: Sandbox, page: Browser) -> None:
        select(page)
        open_terminal(page)
        page.type("echo $((6 * 7)); printf '\\033[31mr''ed\\033[0m\\n'", Keys.ENTER)
        page.until_text(".screen", "\n42\n")
        page.until(lambda: "red" in page.texts(".screen .f1"), "the colour")
        page.type("exit 3", Keys.ENTER)
        page.until_text(".bar", "The shell is gone: ended with exit code 3.")
        page.click(".bar button", "New shell")
        page.until(lambda: re.search(r"[#$] *$", page.text(".screen").strip()), "another prompt")

    def test_it_has_the_size_of_its_place_and_the_keys_of_a_terminal(
        self, sandbox: Sandbox, page: Browser
    ) -> None:
        select(page)
        open_terminal(page)
        page.type("stty size", Keys.ENTER)
        page.until(lambda: re.search(r"^\d+ \d+$", page.text(".screen"), re.MULTILINE), "its size")
        wide = page.run("return document.querySelector('.view').clientWidth")
        page.resize(800)
        page.until(lambda: page.run("return document.querySelector('.view').clientWidth") != wide, "its size")
        page.type("cat", Keys.ENTER, "again")
        page.type(Keys.CONTROL, "c", Keys.NULL)
        page.until_text(".screen", "^C")
        page.until(lambda: re.search(r"\^C.*[#$]\s*$", page.text(".screen"), re.DOTALL), "the prompt")
        page.type(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ENTER)
        page.until(
            lambda: len(set(re.findall(r"^\d+ \d+$", page.text(".screen"), re.MULTILINE))) == 2,
            "another size, by the command before",
        )

    def test_its_command_ends_with_it(self, sandbox: Sandbox, page: Browser) -> None:
        select(page)
        open_terminal(page)
        page.until(lambda: any(each.running for each in sandbox.list_processes()), "the shell")
        page.click(".close")
        page.until(lambda: not any(each.running for each in sandbox.list_processes()), "its end")

    @pytest.mark.parametrize(
        ("printed", "shown"),
        [
            ("ab\rc", "cb"),
            ("ab\bc", "ac"),
            ("a\tb", "a       b"),
            ("1234567890ab", "1234567890\nab"),
            ("\x1b[?7l1234567890ab", "123456789b"),
            ("1\n2\n3\n4\n5", " 2\n  3\n   4\n    5"),
            ("\x1b[2;3Hx\x1b[Ay\x1b[2Dz", "  zy\n  x"),
            ("abcdef\x1b[3D\x1b[K", "abc"),
            ("abcdef\x1b[3D\x1b[1K", "    ef"),
            ("abcdef\x1b[1;3H\x1b[2P", "abef"),
            ("abcdef\x1b[1;3H\x1b[2@", "ab  cdef"),
            ("abcdef\x1b[1;3H\x1b[2X", "ab  ef"),
            ("a\r\nb\r\nc\x1b[2;1H\x1b[L", "a\n\nb\nc"),
            ("a\r\nb\r\nc\x1b[2;1H\x1b[M", "a\nc"),
            ("a\r\nb\r\nc\x1b[1;2r\x1b[2;1H\nd", "b\nd\nc"),
            ("a\x1b[2Jb", " b"),
            ("main\x1b[?1049hother\x1b[?1049l!", "main!"),
            ("a\x1b7bc\x1b8d", "adc"),
            ("\x1b(0lqk\x1b(B", "┌─┐"),
            ("\x1b]0;title\x07a\x1bPq\x1b\\b", "ab"),
            ("x\x1b[3b", "xxxx"),
            ("e\u0301漢a", "e\u0301漢a"),
            ("\x1b[99999;99999Hx", "\n\n\n         x"),
            ("\x1b[?99999999999999h\x1b[;;;;m\x1b[38;5m\x1b[38;2;1mok", "ok"),
        ],
    )
    def test_screen_follows_control_sequences(self, page: Browser, printed: str, shown: str) -> None:
        script = """
            const { Screen } = await import("./page/screen.js");
            const screen = new Screen(4, 10);
            screen.write(given[0]);
            return screen.lines.map((line) => line.map((cell) => cell.text).join("").trimEnd()).join("\\n");
        """
        assert page.run(script, printed).rstrip("\n") == shown

    def test_screen_survives_whatever_is_printed_and_any_size(self, page: Browser) -> None:
        script = """
            const { Screen } = await import("./page/screen.js");
            const pieces = ["\\x1b", "[", "?", ";", "1", "9", "38", "48", "5", "2", "\\n", "\\r", "\\b",
                            ..."漢xABCDEFGHJKLMPSTXcdfghlmnrsu78(0)]@"];
            let seed = 1;
            const random = (most) => (seed = (seed * 48271) % 2147483647) % most;
            const screen = new Screen(5, 12);
            for (let times = 0; times < 30000; times += 1) {
                screen.write(pieces[random(pieces.length)]);
                if (random(500) === 0) screen.resize(1 + random(9), 2 + random(20));
                const { rows, columns, row, column, lines } = screen;
                if (lines.length !== rows || lines.some((line) => line.length !== columns)) return "size";
                if (!(row >= 0 && row < rows && column >= 0 && column < columns)) return "cursor";
                if (screen.history.length > 1000) return "history";
            }
            return "well";
        """
        assert page.run(script) == "well"


class TestMarkup:
    def test_it_is_shown_as_text(
        self, client: HTTPClient, started: ExitStack, page: Browser, serving: Orchestrator
    ) -> None:
        busybox = layouts.busybox()
        image = "host"
        if busybox is not None:
            assert serving.state_dir is not None
            image = str(serving.state_dir / "rootfs" / "<i>image<")
            Path(image).parent.mkdir(exist_ok=True)
            Path(image).write_bytes(layouts.tar_bytes(layouts.busybox_layer()))
        command = ["/bin/sh", "-c", 'echo "$0"; exec tail -f /dev/null', MARKUP]
        start(client, started, name="one", image=image, labels={"note": MARKUP}, command=command)
        with pytest.raises(SandboxError):
            client.start_sandbox(image=f"/{MARKUP}")
        page.until_text(ROW, "running")
        assert page.text(f"{ROW} .label") == f"note={MARKUP}"
        assert page.text(f"{ROW} .image") == image
        select(page)
        page.until(lambda: any("<img src=x" in text for text in page.texts("#events .detail")), "the failure")
        page.click("#tab-Output")
        page.until_text(".output", "<img src=x")
        open_terminal(page)
        page.type("echo '<u>output</u>'", Keys.ENTER)
        page.until_text(".screen", "\n<u>output</u>\n")
        made = "document.querySelectorAll('main img, main i, main u, table b, #aside b').length"
        assert page.run(f"return {made}") == 0
        assert page.run("return document.title") == "flash-sandbox"
        # What has failed to start is gone when it is asked about.
        assert all("404" in line for line in page.console())


class TestKey:
    @pytest.fixture
    def secured(self, limits: Limits) -> Iterator[Orchestrator]:
        with running_orchestrator(limits=limits, api_key=KEY) as running:
            with HTTPClient(address=running.http_address, api_key=KEY) as client:
                client.start_sandbox(name="secret", memory_mb=64)
            yield running

    def test_nothing_is_shown_without_it_and_everything_with_it(
        self, browser: Browser, secured: Orchestrator
    ) -> None:
        browser.open(secured.http_address)
        browser.until_text("#sign-in", "asks for its API key")
        browser.type("wrong", Keys.ENTER)
        browser.until_text("#sign-in-error", "That key is wrong.")
        assert browser.count(ROW) == 0
        browser.type(KEY, Keys.ENTER)
        browser.until_text(ROW, "secret")
        browser.driver.refresh()
        browser.until_text(ROW, "secret")
        browser.click("#sign-out")
        browser.until_text("#sign-in", "asks for its API key")
        assert browser.run("return sessionStorage.length") == 0


class TestOtherOrigins:
    @pytest.fixture
    def elsewhere(self) -> Iterator[str]:
        """Serve a page of another origin on this machine."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(b"<title>elsewhere</title>")

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Browsers open connections that they may never use.
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
        server.server_close()

    @staticmethod
    def refusals(serving: Orchestrator) -> float:
        text = httpx.get(f"{serving.http_address}/metrics").text
        found = re.findall(r'^flash_sandbox_call_failures_total\{.*"origin_refused".*\} (.*)$', text, re.M)
        return sum(map(float, found))

    @pytest.mark.parametrize(
        "call",
        [
            "fetch(given[0] + '/sandboxes', {method: 'POST', mode: 'no-cors', body: '{}'})",
            "fetch(given[0] + '/sandboxes', {mode: 'no-cors'})",
            "new Promise((resolve) => { const image = new Image(); image.onerror = resolve; "
            "image.src = given[0] + '/sandboxes'; })",
        ],
        ids=["start", "list", "image"],
    )
    def test_what_they_ask_for_is_refused(
        self, browser: Browser, serving: Orchestrator, client: HTTPClient, elsewhere: str, call: str
    ) -> None:
        browser.open(elsewhere)
        before = self.refusals(serving)
        browser.run(f"await {call}", serving.http_address)
        assert self.refusals(serving) == before + 1
        assert client.list_sandboxes().sandboxes == ()

    def test_they_cannot_read_anything_or_put_the_page_into_a_frame(
        self, browser: Browser, serving: Orchestrator, elsewhere: str
    ) -> None:
        browser.open(elsewhere)
        for path in ("/sandboxes", "/", "/page/app.js", "/metrics"):
            with pytest.raises(AssertionError, match="Failed to fetch"):
                browser.run("await fetch(given[0])", serving.http_address + path)
        browser.run(
            "const frame = document.createElement('iframe');"
            "frame.src = given[0];"
            "document.body.append(frame);"
            "await new Promise((resolve) => (frame.onload = resolve))",
            serving.http_address,
        )
        assert any("frame-ancestors" in line or "X-Frame-Options" in line for line in browser.console())

    def test_a_name_that_was_made_to_resolve_here_shows_nothing(
        self, browser: Browser, serving: Orchestrator
    ) -> None:
        browser.open(serving.http_address.replace("127.0.0.1", REBOUND))
        browser.until_text("body", "without an API key the orchestrator answers only to")

    def test_a_name_that_the_operator_gives_is_let_in(self, browser: Browser, limits: Limits) -> None:
        with running_orchestrator(limits=limits, hosts=[REBOUND]) as running:
            browser.open(running.http_address.replace("127.0.0.1", REBOUND))
            browser.until_text("#live", "live")


class TestReader:
    def test_it_shows_every_operation_and_schema_of_the_document(
        self, browser: Browser, serving: Orchestrator
    ) -> None:
        browser.open(f"{serving.http_address}/docs")
        browser.until(lambda: browser.count(".schema"), "the document")
        document = httpx.get(f"{serving.http_address}/openapi.json").json()
        operations = {
            one["operationId"]
            for item in document["paths"].values()
            for method, one in item.items()
            if method != "parameters"
        }
        assert set(browser.texts(".operation h3")) == operations
        assert set(browser.texts(".schema h3")) == set(document["components"]["schemas"])
        browser.type("/")
        browser.type("keep_alive")
        browser.until(lambda: browser.count(".operation") == 1, "what matches")
        assert "Seconds from now after which it expires" in browser.text("#operation-keep_alive")
        assert browser.console() == []
