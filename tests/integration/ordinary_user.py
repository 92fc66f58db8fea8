"""How a test that runs as root runs a program as an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
_USER = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--")

# setpriv itself may still start what its user may not: the interpreter must be able to start itself.
_PROBE = "import flash_sandbox.orchestrator, os, sys; os.execv(sys.executable, [sys.executable, '-c', ''])"


def command() -> tuple[list[str], dict[str, str]] | str:
    """Return the command that runs Python as nobody, and its environment; or why there is none."""
    if os.geteuid() != 0:
        return "this test does not run as root"
    if shutil.which(_USER[0]) is None:
        return "there is no setpriv"
    # The virtual environment may belong to an interpreter in a home that only root can enter: any other
    # of the same version, given the environment's packages, will do.
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "generated"), sysconfig.get_path("purelib")]),
    }
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, os.path.realpath(sys.executable), f"/usr/bin/{version}"):
        probe = [*_USER, python, "-c", _PROBE]
        if subprocess.run(probe, env=environment, capture_output=True, check=False, cwd="/").returncode == 0:
            return [*_USER, python], environment
    return f"nobody finds no {version} that imports flash_sandbox from {ROOT}"
