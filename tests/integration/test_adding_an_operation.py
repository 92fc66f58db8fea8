"""An operation is added as CONTRIBUTING says: two specs, and a method of the core."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = Path(__file__).parent / "programs" / "echoes.py"
FOLDERS: Final = ("codegen", "flash_sandbox", "generated", "guest", "specs")

PATHS: Final = """\
  /sandboxes/{id}/echo:
    parameters:
      - {$ref: "#/components/parameters/id"}
    post:
      operationId: echo
      x-idempotent: true
      tags: [sandboxes]
      summary: Return a text so many times.
      security: [{bearerAuth: []}]
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: "#/components/schemas/EchoRequest"}
      responses:
        "200":
          description: The text.
          content:
            application/json:
              schema: {$ref: "#/components/schemas/EchoResponse"}
        default: {$ref: "#/components/responses/Error"}

"""
SCHEMAS: Final = """\
    EchoRequest:
      type: object
      required: [text]
      properties:
        text: {type: string, description: The text.}
        times:
          type: integer
          format: int32
          minimum: 0
          maximum: 10
          default: 0
          x-zero-means: 1
          description: How many times, at most 10. 0 is 1.

    EchoResponse:
      type: object
      required: [text]
      properties:
        text: {type: string, description: The text so many times.}

"""
RPC: Final = "  // Return a text so many times.\n  rpc Echo(EchoRequest) returns (EchoResponse);\n"
MESSAGES: Final = """\
message EchoRequest {
  // ID of the sandbox.
  string id = 1;
  // The text.
  string text = 2;
  // How many times, at most 10. 0 is 1.
  int32 times = 3;
}

message EchoResponse {
  // The text so many times.
  string text = 1;
}

"""
CORE: Final = '''\
    async def echo(self, request: models.EchoRequest) -> models.EchoResult:
        """Answer a text."""
        return models.EchoResult(request.text * (request.times or 1))

'''
# Each piece, and the text of the file that it goes before.
ADDED: Final = (
    ("specs/openapi.yaml", "  /sandboxes/{id}/exec:\n", PATHS),
    ("specs/openapi.yaml", "    ExecRequest:\n", SCHEMAS),
    (
        "specs/sandbox.proto",
        "  // Return the state of a sandbox: creating, running, paused, stopped or error.\n  rpc",
        RPC,
    ),
    ("specs/sandbox.proto", "message StatusRequest {", MESSAGES),
    ("flash_sandbox/orchestrator/core/listing.py", "from .base import ", "from ... import models\n"),
    ("flash_sandbox/orchestrator/core/listing.py", "    async def get_info(", CORE),
)


def run(copy: Path, *arguments: str | Path) -> str:
    environment = os.environ | {
        "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'generated'}",
        "DOCKER_HOST": "unix:///nowhere/docker.sock",
    }
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository with an operation more, generated."""
    root = tmp_path_factory.mktemp("repository")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, piece in ADDED:
        text = (root / name).read_text()
        assert text.count(before) == 1, (name, before)
        (root / name).write_text(text.replace(before, piece + before))
    run(root, "-m", "codegen")
    return root


@pytest.fixture(scope="module")
def answer(copy: Path) -> dict[str, Any]:
    """Return what a program prints that calls the operation."""
    printed: dict[str, Any] = json.loads(run(copy, PROGRAM))
    assert Path(printed["from"]).is_relative_to(copy)
    return dict(printed["said"])


def test_the_specs_and_all_that_is_generated_agree(copy: Path) -> None:
    assert "the specs agree" in run(copy, "-m", "codegen", "--check")


@pytest.mark.parametrize("kind", ["HTTPClient", "SandboxClient", "AsyncHTTPClient", "AsyncSandboxClient"])
def test_every_client_calls_it(answer: dict[str, Any], kind: str) -> None:
    assert answer[kind] == "abab"


def test_its_values_are_checked_as_the_specs_say(answer: dict[str, Any]) -> None:
    assert answer["refused"] == "times must be 0 to 10, not 11"


def test_the_object_form_has_it_and_so_has_the_interface(copy: Path) -> None:
    classes = "(flash_sandbox.Sandbox, flash_sandbox.AsyncSandbox, flash_sandbox.SandboxAPI)"
    program = f"import flash_sandbox; print(all(hasattr(one, 'echo') for one in {classes}))"
    assert run(copy, "-c", program) == "True\n"
