"""Models: frozen, and validated before any transport sees them."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import pytest

from flash_sandbox import InvalidArgumentError, models
from flash_sandbox.models import (
    ExecRequest,
    ExecResult,
    MetricsResult,
    SnapshotResult,
    StartRequest,
    StatusRequest,
)

RESULTS = [ExecResult("a", "b", 1), MetricsResult(1, 2, 50.0), SnapshotResult("/s", "")]


@pytest.mark.parametrize("sandbox_id", ["a", "A-1_b.c", "0" * 128])
def test_sandbox_id_of_letters_digits_and_marks_is_taken(sandbox_id: str) -> None:
    assert StatusRequest(sandbox_id).id == sandbox_id


@pytest.mark.parametrize(
    "sandbox_id",
    ["", ".", "..", "../x", "a/b", "a b", "a\n", "a\0", "\u00e9", "\ud800", "0" * 129, "-a", None, 7, b"a"],
)
def test_sandbox_id_that_could_name_another_path_is_refused(sandbox_id: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="sandbox ID"):
        StatusRequest(sandbox_id)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"memory_mb": 0}, "memory_mb"),
        ({"memory_mb": 2**31}, "memory_mb"),
        ({"memory_mb": True}, "memory_mb"),
        ({"memory_mb": 1.0}, "memory_mb"),
        ({"memory_mb": "1"}, "memory_mb"),
        ({"cpu_cores": 0}, "cpu_cores"),
        ({"cpu_cores": -0.0}, "cpu_cores"),
        ({"cpu_cores": 1024.1}, "cpu_cores"),
        ({"cpu_cores": math.nan}, "cpu_cores"),
        ({"cpu_cores": math.inf}, "cpu_cores"),
        ({"cpu_cores": 10**400}, "cpu_cores"),
        ({"cpu_cores": "1"}, "cpu_cores"),
        ({"image": None}, "image"),
        ({"image": "a\0b"}, "image"),
        ({"image": "\udfff"}, "image"),
        ({"command": "ls -l"}, "command"),
        ({"command": ["a", 1]}, r"command\[1\]"),
        ({"command": ["", "a"]}, r"command\[0\]"),
        ({"command": ["a" * 131_072]}, "command"),
        ({"command": ["a" * 131_000] * 9}, "command"),
    ],
)
def test_start_request_names_the_field_that_it_refuses(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=name):
        StartRequest(**fields)


def test_exec_request_needs_a_command() -> None:
    with pytest.raises(InvalidArgumentError, match="at least one"):
        ExecRequest("a", ())


def test_command_becomes_a_tuple() -> None:
    assert StartRequest(command=["a", "b"]).command == ("a", "b")  # type: ignore[arg-type]


def test_negative_zero_becomes_zero() -> None:
    assert math.copysign(1, MetricsResult(cpu_percent=-0.0).cpu_percent) == 1


@pytest.mark.parametrize("exit_code", [2**31, -(2**31) - 1, True, 1.0, "0"])
def test_exit_code_is_a_32_bit_integer(exit_code: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="exit_code"):
        ExecResult(exit_code=exit_code)


@pytest.mark.parametrize("value", [-1, 2**64, 1.5])
def test_metrics_are_unsigned_64_bit_integers(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="pids_current"):
        MetricsResult(pids_current=value)


def test_snapshot_reads_as_a_mapping() -> None:
    snapshot = SnapshotResult("/s", "/m")
    assert dict(snapshot) == {"snapshot_path": "/s", "mem_file_path": "/m"}
    assert snapshot["snapshot_path"] == "/s"


def test_snapshot_has_no_other_key() -> None:
    with pytest.raises(KeyError):
        SnapshotResult()["id"]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_result_survives_pickle_copy_and_hash(result: Any) -> None:
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert other == result
        assert hash(other) == hash(result)


@pytest.mark.parametrize("name", models.__all__)
def test_model_is_frozen(name: str) -> None:
    model = getattr(models, name)
    if dataclasses.is_dataclass(model):
        assert model.__dataclass_params__.frozen  # type: ignore[attr-defined]
