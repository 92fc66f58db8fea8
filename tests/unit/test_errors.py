"""Errors: one hierarchy, and one table between the transports."""

from __future__ import annotations

import copy
import pickle

import pytest
from grpclib.const import Status

import flash_sandbox
from flash_sandbox import errors
from flash_sandbox.errors import GRPC_STATUS, MAX_DETAIL_BYTES, TABLE, Reason, SandboxError

CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SandboxError)
]


def test_every_reason_has_one_row() -> None:
    assert sorted(row.reason for row in TABLE) == sorted(Reason)


def test_every_class_but_the_bases_has_a_row() -> None:
    assert {row.error for row in TABLE} == set(CLASSES) - {SandboxError, errors.SandboxHTTPError}


@pytest.mark.parametrize("base", [errors.PermissionDeniedError, errors.NotFoundError, errors.ConflictError])
def test_a_base_is_the_class_of_what_a_status_alone_tells(base: type[SandboxError]) -> None:
    (status_code,) = {row.status_code for row in TABLE if row.error is base}
    assert status_code is not None
    assert type(errors.error_for("from_the_future", "", status_code=status_code)) is base
    assert type(errors.error_for(errors.reason_of_status_code(status_code), "")) is base


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.reason)
def test_row_names_a_known_status_on_both_transports_or_on_neither(row: errors.Row) -> None:
    if row.status_code is None:
        assert row.grpc_status is None
    else:
        assert 400 <= row.status_code <= 599
        assert row.grpc_status in GRPC_STATUS


def test_grpc_statuses_are_those_of_grpc() -> None:
    assert {status.name: status.value for status in Status} == GRPC_STATUS


@pytest.mark.parametrize("status_code", range(400, 600))
def test_every_http_status_alone_tells_an_error(status_code: int) -> None:
    error = errors.error_for(errors.reason_of_status_code(status_code), "", status_code=status_code)
    assert isinstance(error, errors.SandboxHTTPError)
    assert error.status_code == status_code
    assert error.grpc_status in GRPC_STATUS


@pytest.mark.parametrize("status", [name for name in GRPC_STATUS if name != "OK"])
def test_every_grpc_status_alone_tells_an_error(status: str) -> None:
    error = errors.error_for(errors.reason_of_grpc_status(status), "", grpc_status=status)
    assert isinstance(error, errors.SandboxHTTPError)
    assert error.grpc_status == status
    assert error.status_code is not None


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.reason)
def test_reason_tells_the_class_and_both_statuses(row: errors.Row) -> None:
    error = errors.error_for(row.reason, "why")
    assert (type(error), error.reason) == (row.error, row.reason)
    assert errors.statuses_of(error) == (row.status_code, row.grpc_status)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_that_no_server_reported_has_no_status(kind: type[SandboxError]) -> None:
    error = kind("why")
    assert (error.status_code, error.grpc_status) == (None, None)


@pytest.mark.parametrize(
    ("base", "kinds"),
    [
        (
            errors.NotFoundError,
            (errors.SandboxNotFoundError, errors.ProcessNotFoundError, errors.SandboxFileNotFoundError),
        ),
        (
            errors.PermissionDeniedError,
            (errors.NetworkRefusedError, errors.OriginRefusedError, errors.SandboxFilePermissionError),
        ),
        (
            errors.ConflictError,
            (
                errors.WrongStateError,
                errors.AlreadyExistsError,
                errors.EventsMissedError,
                errors.SandboxEndedError,
                errors.PortClosedError,
                errors.SandboxFileConflictError,
            ),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_says_more_than_a_base_are_siblings_below_it(
    base: type[SandboxError], kinds: tuple[type[SandboxError], ...]
) -> None:
    assert {kind for kind in CLASSES if kind.__bases__[0] is base} == set(kinds)


@pytest.mark.parametrize("said", ["sandbox a not found", "no such sandbox: a", "Sandbox a does not exist"])
def test_an_answer_without_a_reason_that_names_a_sandbox_is_of_an_older_orchestrator(said: str) -> None:
    reasons = (errors.reason_of_status_code(404, said), errors.reason_of_grpc_status("NOT_FOUND", said))
    assert reasons == (Reason.SANDBOX_NOT_FOUND, Reason.SANDBOX_NOT_FOUND)


@pytest.mark.parametrize(
    "said", ["", "404 page not found", "HTTP 404 Not Found", "/sandboxes/a: nothing there"]
)
def test_an_answer_without_a_reason_that_names_no_sandbox_does_not_say_what_is_not_there(said: str) -> None:
    reasons = (errors.reason_of_status_code(404, said), errors.reason_of_grpc_status("NOT_FOUND", said))
    assert reasons == (Reason.NOT_FOUND, Reason.NOT_FOUND)


def test_unknown_reason_falls_back_to_the_status_and_keeps_its_name() -> None:
    error = errors.error_for("from_the_future", "", status_code=404)
    assert (type(error), error.reason) == (errors.NotFoundError, "from_the_future")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_error_survives_pickle_and_copy_with_every_field(kind: type[SandboxError]) -> None:
    error = kind("why", request_id="r1", transport="grpc", operation="get_status", retry_after=1.5)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is kind
        assert (other.detail, other.fields()) == (error.detail, error.fields())


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InvalidArgumentError, ValueError),
        (errors.SandboxTimeoutError, TimeoutError),
        (errors.SandboxConnectionError, ConnectionError),
        (errors.OutcomeUnknownError, ConnectionError),
        (errors.ClientClosedError, RuntimeError),
        (errors.SandboxFileNotFoundError, FileNotFoundError),
        (errors.SandboxFilePermissionError, PermissionError),
        (errors.SandboxFileExistsError, FileExistsError),
    ],
)
def test_error_is_also_the_builtin_one(kind: type[SandboxError], builtin: type[Exception]) -> None:
    assert issubclass(kind, builtin)


def test_text_has_operation_detail_and_request_id() -> None:
    error = errors.ConflictError("it is paused", operation="exec_command", request_id="r1")
    assert str(error) == "exec_command: it is paused [request r1]"


def test_long_detail_is_cut_and_says_so() -> None:
    detail = SandboxError("\u20ac" * 50_000).detail
    assert len(detail.encode()) <= MAX_DETAIL_BYTES
    assert detail.endswith("[150000 bytes in all]")


def test_every_error_is_exported() -> None:
    assert {kind.__name__ for kind in CLASSES} <= set(flash_sandbox.__all__)
    assert {kind.__name__ for kind in CLASSES} | {"CommandResult", "Reason"} <= set(errors.__all__)
