"""Models: frozen, and validated before any transport sees them."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from collections.abc import Callable
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


TAKING_VARIABLES: list[Callable[[Any], object]] = [
    lambda env: StartRequest(env=env),
    lambda labels: StartRequest(labels=labels),
    lambda env: ExecRequest("a", ("b",), env=env),
    lambda env: models.ExecStreamRequest("a", ("b",), env=env),
    lambda env: models.StartProcessRequest("a", ("b",), env=env),
    lambda labels: models.ListSandboxesRequest(labels=labels),
]


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
        ({"memory_mb": -1}, "memory_mb"),
        ({"memory_mb": 2**31}, "memory_mb"),
        ({"memory_mb": True}, "memory_mb"),
        ({"memory_mb": 1.0}, "memory_mb"),
        ({"memory_mb": "1"}, "memory_mb"),
        ({"cpu_cores": -0.1}, "cpu_cores"),
        ({"cpu_cores": 1024.1}, "cpu_cores"),
        ({"cpu_cores": math.nan}, "cpu_cores"),
        ({"cpu_cores": math.inf}, "cpu_cores"),
        ({"cpu_cores": 10**400}, "cpu_cores"),
        ({"cpu_cores": "1"}, "cpu_cores"),
        ({"pids": 15}, "pids"),
        ({"pids": 2**22 + 1}, "pids"),
        ({"pids": True}, "pids"),
        ({"shm_mb": -1}, "shm_mb"),
        ({"disk_mb": -1}, "disk_mb"),
        ({"disk_mb": 2**31}, "disk_mb"),
        ({"shm_mb": 2**31}, "shm_mb"),
        ({"user": "a\0"}, "user"),
        ({"image_command": 1}, "image_command"),
        ({"image_command": True, "command": ["a"]}, "image_command"),
        ({"volumes": "/a:/b"}, "volumes"),
        ({"volumes": ["/a"]}, "not SOURCE:TARGET"),
        ({"volumes": ["./a:/b"]}, "not an absolute path"),
        ({"volumes": ["/a:b"]}, "not an absolute path"),
        ({"volumes": ["/a:/b/../c"]}, "not a plain path"),
        ({"volumes": ["/a:/"]}, "not a plain path"),
        ({"volumes": ["/a:/proc/x"]}, "/proc/x"),
        ({"volumes": ["/a:/b\0"]}, "not an absolute path"),
        ({"volumes": ["/a:/b\ud800"]}, "lone surrogate"),
        ({"volumes": ["/a:/b", "/c:/b:ro"]}, "twice"),
        ({"volumes": [f"/a:/b{n}" for n in range(17)]}, "at most 16"),
        ({"volumes": {"/b": 1}}, "volumes"),
        ({"volumes": {1: "/a"}}, "volumes"),
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


@pytest.mark.parametrize(
    "variables",
    [
        {"A=B": "1"},
        {"A=": "1"},
        {"=": "1"},
        {"=A": "1"},
        {"": "1"},
        {"A\0": "1"},
        {"A": "1\0"},
        {"A": "\ud800"},
        {1: "1"},
        {"A": 1},
        {"A": None},
        ["A"],
        ["=1"],
        [""],
        ["A=\0"],
        ["\0=1"],
        [("A", "1")],
        "A=1",
        b"A=1",
    ],
    ids=repr,
)
@pytest.mark.parametrize("make", TAKING_VARIABLES)
def test_what_is_no_variable_is_refused_wherever_some_are_taken(
    make: Callable[[Any], object], variables: Any
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"env|labels"):
        make(variables)


@pytest.mark.parametrize("make", TAKING_VARIABLES)
def test_a_value_may_hold_what_a_name_may_not(make: Callable[[Any], Any]) -> None:
    made = make({"A": "=b=", "B": ""})
    assert ("A==b=", "B=") in (getattr(made, "env", None), getattr(made, "labels", None))
    assert made == make(["A==b=", "B="])


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
