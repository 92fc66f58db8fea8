"""Whatever a caller sends, a line of the log is one line of printable text."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from flash_sandbox.orchestrator.doors.request_log import LOGGER, LogFormat, RequestLog, log_to_stderr

HOSTILE = [
    "\x1b]0;owned\x07",
    "two\nlines",
    "two\rlines",
    "\x7f",
    "\x9b31m",
    "\u2028",
    "\u202e",
    "\ud800",
    'quoted" event=forged',
    "\\",
]


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[logging.Handler]]:
    """The handlers of the root logger, with which a test does what it likes."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = LOGGER.level
    yield root.handlers
    LOGGER.setLevel(level)


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_a_caller_sent_is_escaped(
    value: str,
    log_format: LogFormat,
    stderr: list[logging.Handler],
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    log_to_stderr()
    RequestLog(log_format).event("request", operation=value)
    line = capsysbinary.readouterr().err.decode()
    assert line.endswith("\n")
    assert line[:-1].replace("\x7f", "" if log_format == "json" else "\x7f").isprintable()
    if log_format == "json":
        assert json.loads(line)["operation"] == value


def test_further_lines_of_a_traceback_do_not_pass_for_lines_of_their_own(
    stderr: list[logging.Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr()
    try:
        raise ValueError("\ntime=now level=info event=forged\x1b[2J")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    first, *further = capsys.readouterr().err.splitlines()
    assert first == "it failed"
    assert all(line.startswith("  ") for line in further)
    assert all(line.isprintable() for line in further)
