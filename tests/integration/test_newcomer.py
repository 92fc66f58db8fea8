"""The first screen of the README, as somebody who has nothing yet types it, and how long each step takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import packages
import pytest
from packages import Packages

Need = Callable[[str, str | None], None]

# The first test waits until the packages are built.
pytestmark = pytest.mark.timeout(600)

README = (packages.ROOT / "README.md").read_text()
FIRST_SCREEN = README.partition("\n### ")[0]
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", FIRST_SCREEN, re.MULTILINE | re.DOTALL)
# What needs a clone and not the package is tested where there is a clone.
STEPS = [
    (kind, step)
    for kind, text in BLOCKS
    for step in (text.splitlines() if kind == "sh" else [text])
    if not step.startswith(("make ", ".venv/"))
]


def test_the_first_screen_installs_looks_and_runs_by_the_shell_and_from_python() -> None:
    kinds = [kind for kind, _ in STEPS]
    assert (kinds.count("sh"), kinds.count("python")) == (3, 2)
    assert STEPS[0] == ("sh", "pip install '.[orchestrator]'")


def test_a_newcomer_sees_the_output_of_a_sandbox(
    published: Packages, need: Need, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    python = packages.environment(tmp_path / "venv")
    pip = python.with_name("pip")
    pip.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pip --python "{python}" "$@"\n')
    pip.chmod(0o755)
    environment = {name: text for name, text in os.environ.items() if not name.startswith("FLASH_SANDBOX_")}
    environment |= {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    printed, took = [], []
    for kind, step in STEPS:
        # A clone's own folder, as the package that was built of it.
        command = step.replace("'.[", f"'{published.wheel}[")
        began = time.monotonic()
        done = subprocess.run(
            [python, "-c", command] if kind == "python" else ["sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment,
            timeout=110,
        )
        took.append(f"{time.monotonic() - began:.1f} s {step if kind == 'sh' else 'the program in Python'}")
        if step.startswith("pip "):
            need("pypi", f"pip cannot install: {done.stderr.strip()}" if done.returncode else None)
        assert done.returncode == 0, f"{step}:\n{done.stdout}{done.stderr}"
        printed.append(done.stdout)
    assert "✓ bubblewrap" in printed[1]
    assert "hello from a sandbox" in printed[2]
    assert "hello from a sandbox" in printed[3]
    record_property("a newcomer", ", ".join(took))
