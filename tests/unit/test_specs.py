"""The real specs and what is generated from them keep the published wire contract and one vocabulary."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import betterproto2
import flash_sandbox_grpc
import flash_sandbox_http
import pytest
from flash_sandbox_grpc import SandboxServiceBase
from flash_sandbox_http import models as http_models
from flash_sandbox_http.routes import ROUTES

from codegen import openapi, parity, protobuf, wire
from codegen.vocabulary import Vocabulary
from flash_sandbox.operations import OPERATIONS, Operation

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def http() -> Vocabulary:
    return openapi.load(ROOT)


@pytest.fixture(scope="module")
def grpc() -> Vocabulary:
    return protobuf.load(ROOT)


def frozen_fields() -> Iterator[tuple[str, int, str]]:
    for message, row in wire.FIELDS.items():
        for field in filter(None, row.split(", ")):
            number, name, _ = field.split(maxsplit=2)
            yield message, int(number), name


def test_the_specs_keep_every_frozen_fact(http: Vocabulary, grpc: Vocabulary) -> None:
    assert wire.violations(http, grpc) == []


def test_the_specs_agree(http: Vocabulary, grpc: Vocabulary) -> None:
    assert parity.mismatches(http, grpc) == []


@pytest.mark.parametrize(("message", "number", "name"), list(frozen_fields()))
def test_the_grpc_layer_has_the_frozen_number(message: str, number: int, name: str) -> None:
    fields = {field.name: field for field in dataclasses.fields(getattr(flash_sandbox_grpc, message))}
    assert fields[name].metadata["betterproto"].number == number


def test_a_start_request_has_the_published_bytes() -> None:
    request = flash_sandbox_grpc.StartRequest(
        type="docker", image="alpine:latest", command=["sleep", "9"], memory_mb=512, cpu_cores=1.0
    )
    # Written out by hand from the numbers: (number << 3 | wire type), length or value.
    assert bytes(request) == (
        b"\x0a\x06docker" + b"\x12\x0dalpine:latest" + b"\x1a\x05sleep" + b"\x1a\x019"
        b"\x20\x80\x04" + b"\x29\x00\x00\x00\x00\x00\x00\xf0\x3f"
    )


def test_an_exec_response_is_read_from_the_published_bytes() -> None:
    response = flash_sandbox_grpc.ExecResponse.parse(b"\x0a\x02hi" + b"\x12\x03bad" + b"\x18\x07")
    assert (response.stdout, response.stderr, response.exit_code) == ("hi", "bad", 7)


def test_the_grpc_layer_serves_exactly_the_methods_of_the_table() -> None:
    mapping = SandboxServiceBase().__mapping__()
    assert set(mapping) == {f"/{wire.SERVICE}/{operation.rpc}" for operation in OPERATIONS}


@pytest.mark.parametrize(("name", "facts"), list(wire.ROUTES.items()))
def test_the_http_layer_has_the_frozen_path(name: str, facts: str) -> None:
    route = ROUTES[name]
    assert f"{route.method} {route.path}" == facts.partition(" with ")[0]
    assert route.body == ("json" if " with " in facts else "")


def test_the_http_layer_has_exactly_the_operations_of_the_table_and_the_health_check() -> None:
    assert set(ROUTES) == {operation.name for operation in OPERATIONS} | {"get_health"}


def test_every_operation_but_the_health_check_needs_the_key() -> None:
    assert {name for name, route in ROUTES.items() if not route.secured} == {"get_health"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_the_models_of_an_operation_have_the_fields_of_its_messages(
    operation: Operation[object, object], grpc: Vocabulary
) -> None:
    described = grpc.operations[operation.name]
    assert operation.rpc == described.rpc
    for model, message in ((operation.request, described.request), (operation.result, described.response)):
        assert {field.name for field in dataclasses.fields(model)} == set(message.fields)  # type: ignore[arg-type]


def test_a_start_request_has_the_published_keys() -> None:
    body = http_models.StartRequest(type_="docker", image="i", command=["c"], memory_mb=1, cpu_cores=2.0)
    assert set(body.to_dict()) >= {"type", "image", "command", "memory_mb", "cpu_cores"}


@pytest.mark.parametrize("package", [flash_sandbox_grpc, flash_sandbox_http], ids=lambda one: one.__name__)
def test_a_generated_package_is_marked_as_typed(package: object) -> None:
    assert Path(str(package.__file__)).with_name("py.typed").is_file()  # type: ignore[attr-defined]


@pytest.mark.parametrize("package", ["flash_sandbox_grpc", "flash_sandbox_http", "flash_sandbox_http.routes"])
def test_a_generated_package_is_imported_without_the_facade_and_without_grpcio(package: str) -> None:
    script = f"import sys; import {package}; sys.exit(bool({{'flash_sandbox', 'grpc'}} & set(sys.modules)))"
    environment = {"PYTHONPATH": str(ROOT / "generated")}
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], env=environment, check=False)
    assert done.returncode == 0


def test_every_message_of_the_grpc_layer_is_one_of_the_spec(grpc: Vocabulary) -> None:
    names = {
        name
        for name in flash_sandbox_grpc.__all__
        if issubclass(getattr(flash_sandbox_grpc, name), betterproto2.Message)
    }
    assert names == set(grpc.messages)
