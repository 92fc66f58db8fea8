"""What a notebook, a debugger and a failed test show of a value."""

from __future__ import annotations

import inspect
from html.parser import HTMLParser
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flash_sandbox import AsyncSandbox, HTTPClient, Sandbox, SandboxClient
from flash_sandbox.display import html_table, shortened, size
from flash_sandbox.models import ExecResult, MetricsResult

TAGS = {"table", "caption", "tr", "th", "td", "pre"}
MARKUP = "</pre></td><script>alert('1')</script><img src=x onerror=\"alert(2)\"> & &lt; $x^2$"

texts = st.text(st.characters(codec="utf-8")) | st.sampled_from([MARKUP, "\x1b[2J\u202e\x00", "a\r\nb\tc\n"])


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and its texts by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag in ("th", "pre"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data

    @property
    def rows(self) -> dict[str, str]:
        """The values by their names."""
        return dict(zip(self.cells[::2], self.cells[1::2], strict=True))


def page_of(value: object) -> Page:
    """Return what a notebook shows of a value."""
    return Page(cast(Any, value)._repr_html_())


class TestHTMLOfACommand:
    @given(stdout=texts, stderr=texts)
    @example(stdout=MARKUP, stderr=MARKUP)
    def test_output_is_text_whatever_it_holds(self, stdout: str, stderr: str) -> None:
        page = page_of(ExecResult(stdout, stderr, 0, 5, 6, signal=9, duration_ms=7))
        assert set(page.tags) == TAGS
        assert page.attributes == {"style", "scope"}
        assert page.tags.count("tr") == 4 + bool(stdout) + bool(stderr)

    def test_output_is_shown_as_it_is(self) -> None:
        assert page_of(ExecResult(stdout=MARKUP + "\nsecond\n")).rows["stdout"] == MARKUP + "\nsecond"

    @given(stdout=texts)
    def test_nothing_of_it_commands_a_terminal_or_turns_the_text_around(self, stdout: str) -> None:
        shown = page_of(ExecResult(stdout)).rows.get("stdout", "")
        assert all(char.isprintable() or char == "\n" for char in shown)

    @pytest.mark.parametrize("output", ["x" * 10_000_000, "\n" * 10_000_000, "\x00" * 10_000_000])
    def test_is_small_however_much_was_printed(self, output: str) -> None:
        result = ExecResult(output, output)
        assert len(cast(str, result._repr_html_())) < 30_000
        assert len(repr(result)) < 2_000
        assert "more characters)" in page_of(result).rows["stdout"]

    def test_tells_how_it_ended(self) -> None:
        killed = ExecResult(exit_code=137, signal=9, timed_out=True, stderr_dropped=3, duration_ms=1500)
        assert page_of(killed).rows == {
            "ended": "with exit status 137, by SIGKILL, when its time had passed",
            "duration": "1500 ms",
            "stderr dropped": "3 bytes",
        }
        assert page_of(ExecResult()).rows == {"ended": "with exit status 0"}


class TestRepr:
    def test_of_a_command_leaves_out_what_says_nothing(self) -> None:
        assert repr(ExecResult("hi\n", exit_code=3)) == "ExecResult(exit_code=3, stdout='hi\\n')"
        full = ExecResult("a", "b", 143, 1, 2, signal=15, timed_out=True, duration_ms=4)
        assert repr(full) == (
            "ExecResult(exit_code=143, stdout='a', stderr='b', stdout_dropped=1, stderr_dropped=2, "
            "signal=15, timed_out=True, duration_ms=4)"
        )

    @given(texts)
    def test_of_a_text_is_pythons_or_its_beginning_and_length(self, text: str) -> None:
        assert shortened(text) == repr(text) or f"({len(text)} characters)" in shortened(text)
        assert shortened(text).isprintable()

    def test_of_a_long_text_tells_its_length(self) -> None:
        assert shortened("x" * 201) == f"{'x' * 200!r}... (201 characters)"


class TestMetrics:
    METRICS = MetricsResult(
        memory_usage_bytes=3 * 2**20 // 2,
        memory_limit_bytes=512 * 2**20,
        memory_percent=0.29,
        cpu_percent=150.04,
        pids_current=3,
        net_rx_bytes=1023,
        net_tx_bytes=1024,
        block_read_bytes=5 * 2**40,
    )

    def test_have_units_for_people(self) -> None:
        assert page_of(self.METRICS).rows == {
            "memory": "1.5 MiB of 512.0 MiB (0.3 %)",
            "CPU": "150.0 % of a core",
            "processes and threads": "3",
            "network": "1023 B received / 1.0 KiB sent",
            "disk": "5120.0 GiB read / 0 B written",
        }
        assert str(self.METRICS).startswith("memory 1.5 MiB of 512.0 MiB (0.3 %), CPU 150.0 % of a core, ")

    def test_tell_of_a_disk_that_is_limited(self) -> None:
        metrics = MetricsResult(disk_used_bytes=3 * 2**20, disk_limit_bytes=60 * 2**20)
        assert page_of(metrics).rows["disk"] == "0 B read / 0 B written, 3.0 MiB of 60.0 MiB in use"

    def test_tell_of_no_limit_where_there_is_none(self) -> None:
        assert page_of(MetricsResult()).rows["memory"] == "0 B"

    def test_are_exact_in_their_repr(self) -> None:
        assert eval(repr(self.METRICS)) == self.METRICS

    @given(st.integers(0, 2**64 - 1))
    def test_sizes_have_a_unit(self, count: int) -> None:
        number, unit = size(count).split(" ")
        assert unit in ("B", "KiB", "MiB", "GiB")
        assert float(number) < 1024.5 or unit == "GiB"


class TestSandbox:
    @pytest.mark.parametrize("kind", [Sandbox, AsyncSandbox])
    def test_tells_its_id_and_where_it_is_without_asking(self, kind: Any) -> None:
        class Client:
            def __repr__(self) -> str:
                return f"Client({MARKUP!r})"

        page = page_of(kind(Client(), "<b>id</b>"))
        assert page.rows == {"id": "<b>id</b>", "client": f"Client({MARKUP!r})"}
        assert set(page.tags) == TAGS

    @pytest.mark.parametrize("client", [HTTPClient, SandboxClient])
    def test_tells_no_key(self, client: Any) -> None:
        with client(address="localhost:1", api_key="the-secret") as made:
            sandbox = Sandbox(made, "abc")
            assert "localhost:1" in sandbox._repr_html_()
            assert "the-secret" not in sandbox._repr_html_() + repr(sandbox)

    @pytest.mark.parametrize("kind", [Sandbox, AsyncSandbox])
    def test_is_shown_by_plain_functions(self, kind: Any) -> None:
        assert not inspect.iscoroutinefunction(kind._repr_html_)


def test_title_is_text() -> None:
    assert set(Page(html_table("<b>", [("<i>", "<u>")])).tags) == TAGS
