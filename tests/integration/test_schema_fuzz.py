"""schemathesis finds no request that makes the HTTP front door break its own specification."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

SPEC = Path(__file__).parents[2] / "specs" / "openapi.yaml"
KEY = "right-key"
# What is valid by its form may still name a runtime, an image or a command that there is not; and a sandbox
# may be stopped without being cleaned up.
UNDECIDABLE = "positive_data_acceptance,use_after_free"
# The one goes on until its caller goes, the other gives all files of the host's programs.
ENDLESS = ["--exclude-operation-id", "watch_events", "--exclude-operation-id", "download_archive"]

# Bounds what would never end in any other request.
HOOKS = Path(__file__).with_name("schema_hooks.py")

# These are answers of the specification: see `flash_sandbox.errors`.
SETTINGS = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 501, 503, 504]
"""


@pytest.fixture(scope="module")
def guarded(limits: Limits) -> Iterator[Orchestrator]:
    """Run an orchestrator that asks for a key, on a host without Docker, whose sandboxes end with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        with running_orchestrator(limits=limits, api_key=KEY) as running:
            yield running


def fuzz(orchestrator: Orchestrator, folder: Path, settings: str = "", *options: str) -> None:
    """Run schemathesis with a fixed seed, and fail with what it says where it finds something."""
    config = folder / "schemathesis.toml"
    config.write_text(settings + SETTINGS)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(SPEC)]
    command += ["--url", orchestrator.http_address, "--header", f"Authorization: Bearer {KEY}"]
    command += [
        "--exclude-checks",
        UNDECIDABLE,
        "--seed",
        "1",
        "--max-examples",
        str(min(hypothesis.settings().max_examples // 4, 100)),
        "--continue-on-failure",
    ]
    command += [
        *ENDLESS,
        "--generation-database",
        "none",
        "--request-timeout",
        "60",
        "--warnings",
        "off",
        *options,
    ]
    paths = [str(HOOKS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": HOOKS.stem, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_no_request_breaks_the_specification(guarded: Orchestrator, tmp_path: Path) -> None:
    fuzz(guarded, tmp_path)


@pytest.mark.timeout(300)
def test_no_request_for_a_sandbox_that_is_there_breaks_the_specification(
    guarded: Orchestrator, tmp_path: Path
) -> None:
    with HTTPClient(address=guarded.http_address, api_key=KEY) as client:
        sandbox_id = client.start_sandbox(memory_mb=64)
        fuzz(
            guarded,
            tmp_path,
            f'[parameters]\n"path.id" = "{sandbox_id}"\n',
            *("--exclude-operation-id", "start_sandbox", "--exclude-operation-id", "stop_sandbox"),
            *("--exclude-operation-id", "keep_alive"),
        )
        client.stop_sandbox(sandbox_id)
