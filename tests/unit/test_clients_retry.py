"""When a failed call is made again."""

from __future__ import annotations

from typing import Any

import pytest

from flash_sandbox import errors
from flash_sandbox.operations import (
    EXEC_COMMAND,
    GET_STATUS,
    LIST_SNAPSHOTS,
    OPERATIONS,
    REMOVE_SNAPSHOT,
    START_SANDBOX,
    STOP_SANDBOX,
    Operation,
)
from flash_sandbox.options import CallOptions
from flash_sandbox.transports.retry import Attempts, Deadline, lost_answer


def attempts(
    operation: Operation[Any, Any], *, max_retries: int = 3, timeout: float | None = 30.0
) -> Attempts:
    return Attempts(operation, CallOptions(timeout, max_retries))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_connection_that_was_never_made_is_tried_again(operation: Operation[Any, Any]) -> None:
    assert attempts(operation).delay_after(errors.SandboxConnectionError()) is not None


@pytest.mark.parametrize(
    ("operation", "kind", "again"),
    [
        (GET_STATUS, errors.SandboxConnectionError, True),
        (START_SANDBOX, errors.OutcomeUnknownError, True),
        (EXEC_COMMAND, errors.OutcomeUnknownError, False),
        (STOP_SANDBOX, errors.OutcomeUnknownError, False),
        (LIST_SNAPSHOTS, errors.SandboxConnectionError, True),
        (REMOVE_SNAPSHOT, errors.OutcomeUnknownError, False),
    ],
)
def test_lost_answer_is_asked_again_where_that_does_no_harm(
    operation: Operation[Any, Any], kind: type[errors.SandboxError], again: bool
) -> None:
    error = lost_answer(operation, "gone")
    assert type(error) is kind
    assert (attempts(operation).delay_after(error) is not None) is again


@pytest.mark.parametrize("row", errors.TABLE, ids=lambda row: row.reason)
def test_read_is_asked_again_where_the_error_is_worth_it(row: errors.Row) -> None:
    error = row.error(reason=row.reason)
    again = row.retryable or row.reason == "outcome_unknown"
    assert (attempts(GET_STATUS).delay_after(error) is not None) is again


@pytest.mark.parametrize("row", [row for row in errors.TABLE if row.status_code], ids=lambda row: row.reason)
def test_command_is_never_run_again_after_an_answer(row: errors.Row) -> None:
    assert attempts(EXEC_COMMAND).delay_after(row.error(reason=row.reason, retryable=True)) is None


def test_delays_double_with_jitter() -> None:
    row = attempts(GET_STATUS, max_retries=8)
    delays = [row.delay_after(errors.UnavailableError()) or 0.0 for _ in range(8)]
    for delay, longest in zip(delays, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], strict=True):
        assert longest / 2 <= delay <= longest


def test_no_more_than_max_retries() -> None:
    row = attempts(GET_STATUS, max_retries=2)
    made = [row.delay_after(errors.UnavailableError()) is not None for _ in range(4)]
    assert made == [True, True, False, False]


def test_server_may_ask_for_a_longer_delay() -> None:
    assert attempts(GET_STATUS).delay_after(errors.AtCapacityError(retry_after=7.5)) == 7.5


@pytest.mark.parametrize("timeout", [5.0, None])
def test_delay_beyond_the_time_out_or_a_minute_is_told_rather_than_waited_for(timeout: float | None) -> None:
    error = errors.AtCapacityError(retry_after=61.0)
    assert attempts(GET_STATUS, timeout=timeout).delay_after(error) is None


def test_deadline_that_has_passed_is_a_timeout_error() -> None:
    with pytest.raises(errors.SandboxTimeoutError, match=r"1e-09 s"):
        Deadline(1e-9).remaining()


def test_no_time_out_leaves_any_time() -> None:
    assert Deadline(None).remaining() is None
    assert not Deadline(None).passes_within(1e12)


def test_time_out_of_a_sessions_own_is_told_without_seconds() -> None:
    assert Deadline(None).passed().detail == "no answer in time"
