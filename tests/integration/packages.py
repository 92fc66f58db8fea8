"""The packages that are published, built from this repository, and environments that have them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DIST_VARIABLE: Final = "FLASH_SANDBOX_DIST"
"""Names the directory whose packages are tested, as `make dist` has built them; else they are built here."""


@dataclass(frozen=True)
class Packages:
    """What is published.

    Attributes:
        sdist: The source distribution.
        wheel: The wheel, built from it.
    """

    sdist: Path
    wheel: Path


# What zig has compiled is kept: without it, building takes a minute and a half.
_ENVIRONMENT: Final = {
    "FLASH_SANDBOX_AGENTS": "x86_64 aarch64",
    "ZIG_GLOBAL_CACHE_DIR": str(ROOT / "build" / "zig"),
}


def copy_tree(copy: Path) -> Path:
    """Copy what the wheel is built from, since building writes into it; return the copy."""
    copy.mkdir()
    for name in ("flash_sandbox", "generated", "guest"):
        ignored = shutil.ignore_patterns("__pycache__", "bin")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def build(output: Path, source: Path = ROOT, *options: str) -> None:
    """Build packages for all machines into a directory, by the tools of this environment."""
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        *options,
        "--outdir",
        str(output),
        str(source),
    ]
    done = subprocess.run(
        command, env=os.environ | _ENVIRONMENT, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr


def packages(output: Path) -> Packages:
    """Return the packages to test, built into `output` where nothing has built them."""
    given = os.environ.get(DIST_VARIABLE)
    if not given:
        build(output)
    folder = Path(given) if given else output
    (sdist,), (wheel,) = folder.glob("flash_sandbox-*.tar.gz"), folder.glob("flash_sandbox-*.whl")
    return Packages(sdist, wheel)


def environment(folder: Path) -> Path:
    """Make an empty virtual environment and return its interpreter."""
    # Without a pip of its own, which takes longer to install than all the rest.
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "bin" / "python"


def install(python: Path, *requirements: str) -> str | None:
    """Install into an environment; return why that failed, or None."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    last_line = done.stderr.strip().rpartition("\n")[2]
    return f"pip cannot install {', '.join(requirements)}: {last_line}" if done.returncode else None


def run(python: Path, *arguments: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    """Run an environment's Python, isolated (-I): this repository is not where it looks for flash_sandbox."""
    command = [str(python), "-I", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, cwd="/")
