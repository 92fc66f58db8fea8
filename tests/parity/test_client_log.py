"""The log of the clients: one line a call, the same over each transport, and nothing for who does not ask."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from faults import FaultProxy, cut_before
from foreign import Error, ForeignServer

from flash_sandbox import (
    SandboxAPI,
    SandboxConnectionError,
    SandboxError,
    SandboxHTTPError,
    SandboxNotFoundError,
)
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

Connect = Callable[..., SandboxAPI]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    """Turn the log of the clients on, and return what has been logged since the call before."""
    caplog.set_level(logging.DEBUG, "flash_sandbox.client")

    def taken() -> list[logging.LogRecord]:
        records = [record for record in caplog.records if record.name == "flash_sandbox.client"]
        caplog.clear()
        return records

    return taken


Lines = Callable[[], list[logging.LogRecord]]


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the values of a line, which are attributes of its record, but for times and IDs."""
    names = ("operation", "sandbox", "reason", "attempts", "attempt")
    return {name: vars(record)[name] for name in names if name in vars(record)}


class TestLine:
    def test_tells_how_a_call_went(
        self, lines: Lines, client: SandboxAPI, kind: str, sandbox_id: str
    ) -> None:
        lines()
        client.get_status(sandbox_id)
        (line,) = lines()
        assert line.levelno == logging.DEBUG
        assert fields_of(line) == {
            "operation": "get_status",
            "sandbox": sandbox_id,
            "reason": "ok",
            "attempts": 1,
        }
        assert vars(line)["transport"] == ("http" if "HTTP" in kind else "grpc")
        assert 0 < vars(line)["duration_ms"] < 30_000
        text = line.getMessage()
        assert text.startswith(f"call request_id={vars(line)['request_id']} transport=")
        assert f"operation=get_status sandbox={sandbox_id} reason=ok duration_ms=" in text

    def test_names_the_sandbox_that_was_started(self, lines: Lines, client: SandboxAPI) -> None:
        started = client.start_sandbox(memory_mb=64)
        (line,) = lines()
        assert (vars(line)["operation"], vars(line)["sandbox"]) == ("start_sandbox", started)
        client.stop_sandbox(started)

    def test_of_a_failure_has_its_reason_and_the_request_id_of_the_error(
        self, lines: Lines, client: SandboxAPI
    ) -> None:
        with pytest.raises(SandboxNotFoundError) as caught:
            client.get_status("nope")
        (line,) = lines()
        assert fields_of(line)["reason"] == "sandbox_not_found"
        assert vars(line)["request_id"] == caught.value.request_id != ""

    def test_has_the_request_id_of_the_orchestrators(
        self, lines: Lines, client: SandboxAPI, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "flash_sandbox.orchestrator"):
            with pytest.raises(SandboxNotFoundError) as caught:
                client.get_info("nope")
            # A later call has been answered: the line of the one before is written.
            client.list_sandboxes()
            request = f"request_id={caught.value.request_id} "
            theirs = [r for r in caplog.records if r.name == "flash_sandbox.orchestrator"]
            assert sum(request in record.getMessage() for record in theirs) == 1

    def test_is_one_for_a_stream_at_its_end(self, lines: Lines, client: SandboxAPI, sandbox_id: str) -> None:
        lines()
        with client.exec_stream(sandbox_id, "echo hi") as stream:
            assert lines() == []
            list(stream)
        (line,) = lines()
        assert fields_of(line) == {
            "operation": "exec_stream",
            "sandbox": sandbox_id,
            "reason": "ok",
            "attempts": 1,
        }

    def test_of_a_stream_that_is_left_is_no_failure(
        self, lines: Lines, client: SandboxAPI, sandbox_id: str
    ) -> None:
        with client.exec_stream(sandbox_id, "sleep 60"):
            lines()
        (line,) = lines()
        assert fields_of(line)["reason"] == "ok"

    def test_is_one_for_each_repetition(
        self, lines: Lines, connect: Connect, sandbox_id: str, address: str
    ) -> None:
        lines()
        with FaultProxy(address, [cut_before, cut_before]) as proxy:
            connect(proxy.address).get_status(sandbox_id)
        first, second, last = lines()
        shared = {"operation": "get_status", "sandbox": sandbox_id}
        assert fields_of(first) == shared | {"reason": "connection_failed", "attempt": 2}
        assert fields_of(second) == shared | {"reason": "connection_failed", "attempt": 3}
        assert fields_of(last) == shared | {"reason": "ok", "attempts": 3}
        assert len({vars(line)["request_id"] for line in (first, second, last)}) == 1

    def test_of_a_call_that_reaches_nobody(self, lines: Lines, connect: Connect) -> None:
        with pytest.raises(SandboxConnectionError):
            connect("127.0.0.1:1", max_retries=0).list_sandboxes()
        (line,) = lines()
        assert fields_of(line) == {
            "operation": "list_sandboxes",
            "reason": "connection_failed",
            "attempts": 1,
        }

    def test_is_one_line_whatever_the_server_says(self, lines: Lines, connect: Connect) -> None:
        said = Error(404, "NOT_FOUND", "gone\nreason=ok", "detail")
        with ForeignServer(said) as server, pytest.raises(SandboxError):
            connect(server.address, max_retries=0).get_status("abc")
        (line,) = lines()
        assert vars(line)["reason"] == "gone\nreason=ok"
        assert r" reason='gone\nreason=ok' " in line.getMessage()


class TestSecrets:
    def test_hold_nothing_of_keys_bodies_and_output(
        self, lines: Lines, connect: Connect, kind: str, limits: Limits
    ) -> None:
        with running_orchestrator(limits=limits, api_key="the-key") as own:
            address = own.http_address if "HTTP" in kind else own.grpc_address
            client = connect(address, api_key="the-key")
            sandbox = client.start_sandbox(labels={"a": "the-label"})
            client.exec_command(sandbox, "echo the-output", env={"A": "the-variable"}, stdin="the-input")
            client.write_file(sandbox, "/tmp/the-file", "the-content")
            with pytest.raises(SandboxHTTPError):
                client.read_file(sandbox, "/the-path")
            told = [str(vars(line)) for line in lines()]
        assert len(told) == 4
        assert "the-" not in "".join(told)


class TestQuiet:
    def test_nothing_is_logged_where_nobody_asks(
        self, caplog: pytest.LogCaptureFixture, client: SandboxAPI, connect: Connect
    ) -> None:
        caplog.set_level(logging.INFO)
        client.list_sandboxes()
        with pytest.raises(SandboxNotFoundError):
            client.get_status("nope")
        with pytest.raises(SandboxConnectionError):
            connect("127.0.0.1:1", max_retries=1).get_status("nope")
        assert [record for record in caplog.records if record.name == "flash_sandbox.client"] == []

    def test_no_request_id_is_sent_where_nobody_asks(
        self, client: SandboxAPI, orchestrator: Orchestrator
    ) -> None:
        with pytest.raises(SandboxNotFoundError) as caught:
            client.get_status("nope")
        # The orchestrator's own are half as long as those of a client.
        assert len(caught.value.request_id) == 16
