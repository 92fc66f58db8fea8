"""The programs that generate code: which versions, whether they are there, how they are run.

The output depends on each of them to the byte (ruff formats it), so the versions are exact.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

__all__ = ["INSTALL_ALL", "LINE_LENGTH", "PINS", "ToolError", "check_tools", "format_python", "run"]

PINS: Final = {
    "betterproto2-compiler": "0.10.1",
    "grpcio-tools": "1.85.1",
    "openapi-python-client": "0.29.0",
    "ruff": "0.17.6",
}
"""Exact versions, the same as in the extra `dev` of pyproject.toml."""

LINE_LENGTH: Final = 110
"""Line length of everything that is generated."""

INSTALL_ALL: Final = f"{sys.executable} -m pip install -e '.[dev]'"
"""The command that installs everything that development needs."""

_PROGRAMS: Final = {"betterproto2-compiler": "protoc-gen-python_betterproto2", "ruff": "ruff"}
_SCRIPTS: Final = sysconfig.get_path("scripts")


class ToolError(Exception):
    """A generator is missing, has a wrong version or failed."""


def check_tools(pins: dict[str, str] = PINS) -> None:
    """Verify that every generator is installed in its exact version.

    Raises:
        ToolError: One is not; the message has the pip command that installs what is missing.
    """
    wrong = {name: problem for name, pin in pins.items() if (problem := _problem(name, pin))}
    if not wrong:
        return
    wanted = " ".join(f"{name}=={pins[name]}" for name in wrong)
    raise ToolError(
        "\n".join(f"codegen needs {name}=={pins[name]}: {problem}" for name, problem in wrong.items())
        + f"\ninstall with: {sys.executable} -m pip install {wanted}"
        + f"\nor everything that development needs: {INSTALL_ALL}"
    )


def _problem(name: str, pin: str) -> str:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "it is not installed"
    if version != pin:
        return f"version {version} is installed"
    program = _PROGRAMS.get(name)
    if program and not shutil.which(program, path=_SCRIPTS):
        return f"its program {program} is not in {_SCRIPTS} (add --force-reinstall)"
    return ""


def run(command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a generator in `cwd`, with the programs of this interpreter's environment first on PATH.

    Raises:
        ToolError: It ended with an exit code other than 0; the message has what it printed.
    """
    # A user's settings must not show in the output.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUFF_")}
    environment |= {
        "PATH": os.pathsep.join((_SCRIPTS, os.environ.get("PATH", os.defpath))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "RUFF_NO_CACHE": "true",
    }
    environment.pop("BETTERPROTO_DUMP", None)
    arguments = [str(item) for item in command]
    done = subprocess.run(
        arguments, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        printed = "\n".join(filter(None, (done.stdout.strip(), done.stderr.strip())))
        raise ToolError(f"{' '.join(arguments)}\nended with exit code {done.returncode}:\n{printed}")
    return done


def format_python(text: str) -> str:
    """Return Python source in the form that everything generated has: imports sorted, lines at most 110."""
    ruff = shutil.which("ruff", path=_SCRIPTS) or "ruff"
    for command in (
        [ruff, "check", "--isolated", "--no-cache", "--quiet", "--fix-only", "--select", "F401,I", "-"],
        [ruff, "format", "--isolated", "--no-cache", "--quiet", f"--line-length={LINE_LENGTH}", "-"],
    ):
        done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False)
        if done.returncode != 0:
            raise ToolError(f"ruff cannot format what was generated:\n{done.stderr.strip()}")
        text = done.stdout
    return text
