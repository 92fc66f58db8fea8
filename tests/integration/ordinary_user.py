"""How a test that runs as root runs a program as an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
WITH_RANGE = "flash-sandbox-tests"
"""A user whom /etc/subuid and /etc/subgid give a range of IDs."""

# setpriv itself may still start what its user may not: the interpreter must be able to start itself.
_PROBE = "import flash_sandbox.orchestrator, os, sys; os.execv(sys.executable, [sys.executable, '-c', ''])"


def command(user: int = NOBODY) -> tuple[list[str], dict[str, str]] | str:
    """Return the command that runs Python as a user, and its environment; or why there is none."""
    if os.geteuid() != 0:
        return "this test does not run as root"
    become = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--"]
    if shutil.which(become[0]) is None:
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
        probe = [*become, python, "-c", _PROBE]
        if subprocess.run(probe, env=environment, capture_output=True, check=False, cwd="/").returncode == 0:
            return [*become, python], environment
    return f"user {user} finds no {version} that imports flash_sandbox from {ROOT}"


def with_range() -> int | str:
    """Return the user that has a range of IDs; or why there is none."""
    if shutil.which("newuidmap") is None:
        return "there is no newuidmap (Debian: uidmap)"
    try:
        user = pwd.getpwnam(WITH_RANGE).pw_uid
    except KeyError:
        return f"there is no user for it (useradd --no-create-home {WITH_RANGE})"
    lines = [line for name in ("subuid", "subgid") for line in Path("/etc", name).read_text().splitlines()]
    if sum(line.startswith(f"{WITH_RANGE}:") and line.endswith(":65536") for line in lines) < 2:
        return f"/etc/subuid and /etc/subgid give {WITH_RANGE} no range of 65536"
    return user
