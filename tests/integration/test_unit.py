"""deploy/flash-sandbox.service: well-formed, secure, and sandboxes can do without what it takes away."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import ordinary_user
import packages
import pytest

from flash_sandbox import HTTPClient, Sandbox, SandboxClient

Need = Callable[[str, str | None], None]

UNIT = packages.ROOT / "deploy" / "flash-sandbox.service"
EXPOSURE = 4.0
"""What `systemd-analyze security` may say at most, of 10; each version of it counts a little differently."""

# What options of the unit do, as far as commands can do it without systemd (systemd.exec(5)).
TAKEN = [
    "mount -t proc -o hidepid=invisible proc /proc",  # ProtectProc=invisible
    "mount --bind {state} {state} && mount -o remount,bind,ro /",  # ProtectSystem=strict, StateDirectory
]
UNPRIVILEGED = (
    "setpriv",
    "--no-new-privs",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--ambient-caps=-all",
    "--",
)
LEFT = {
    "ProtectKernelLogs": "mount --bind /dev/null /proc/kmsg",
    "ProtectKernelTunables": "mount --bind -o ro /proc/sys /proc/sys",
    "ProcSubset": "mount -t proc -o subset=pid proc /proc",
}
"""What options do that the unit says would break sandboxes."""


@pytest.fixture
def analyze(need: Need) -> str:
    program = shutil.which("systemd-analyze")
    need("systemd", None if program else "there is no systemd-analyze (Debian: systemd)")
    return program or ""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return the unit with a program that is there."""
    program = shutil.which("true")
    text = UNIT.read_text()
    assert text.count("/opt/flash-sandbox/bin/flash-sandbox ") == 1
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("/opt/flash-sandbox/bin/flash-sandbox ", f"{program} "))
    return unit


def test_systemd_finds_nothing_wrong_with_it(analyze: str, installed: Path) -> None:
    done = subprocess.run([analyze, "verify", installed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_its_exposure_is_low(analyze: str) -> None:
    command = [analyze, "security", "--offline=true", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for flash-sandbox.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE


def test_its_options_are_those_of_the_command() -> None:
    (line,) = re.findall(r"^ExecStart=\S+ (.*)$", UNIT.read_text(), re.MULTILINE)
    command, *options = line.split()
    done = subprocess.run(
        [sys.executable, "-m", "flash_sandbox.cli", command, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert [word for word in options if word.startswith("--") and word not in done.stdout] == []


class Confined:
    """Commands run as the unit would run them, as an ordinary user."""

    def __init__(self, python: list[str], environment: dict[str, str], state: Path) -> None:
        self._python, self._environment, self._state = python, environment, state

    def start(self, mounts: list[str], *arguments: str) -> subprocess.Popen[str]:
        script = " && ".join([*mounts, 'exec "$0" "$@"']).format(state=self._state)
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        # Once it has no capability nobody becomes another user.
        *become, python = self._python
        command += [*become, *UNPRIVILEGED, python, *arguments]
        return subprocess.Popen(
            command,
            env=self._environment | {"XDG_STATE_HOME": str(self._state)},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def confined(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Confined]:
    found = ordinary_user.command()
    if isinstance(found, str):
        need("ordinary-user", found)
        return
    state = Path("/var/tmp") / f"fsb-unit-{os.getpid()}"
    state.mkdir(mode=0o700)
    os.chown(state, ordinary_user.NOBODY, ordinary_user.NOBODY)
    yield Confined(*found, state)
    shutil.rmtree(state)


def test_sandboxes_work_without_what_it_takes_away(confined: Confined) -> None:
    serve = ["-m", "flash_sandbox.cli", "serve", "--http-port", "0", "--grpc-port", "0"]
    process = confined.start(TAKEN, *serve, "--limits", "best-effort")
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(2)]
        assert [line[:1] for line in lines] == [["HTTP"], ["gRPC"]], process.communicate()
        for kind, (_, address) in zip((HTTPClient, SandboxClient), lines, strict=True):
            with kind(address=address) as client, Sandbox.create(client=client, type="bubblewrap") as sandbox:
                assert sandbox.exec_command("hostname; id -u").stdout == f"{sandbox.id}\n0\n"
                assert sandbox.exec_command("sleep 60 & sleep 60", timeout=0.5).timed_out
                assert sandbox.get_metrics().pids_current > 0
                sandbox.write_file("/kept", "yes")
                snapshot = sandbox.snapshot_sandbox().snapshot_path
                with Sandbox.create(client=client, type="bubblewrap", snapshot=snapshot) as fork:
                    assert fork.read_file("/kept") == b"yes"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.mark.parametrize("option", LEFT)
def test_what_it_leaves_would_break_sandboxes(option: str, confined: Confined) -> None:
    assert f"# - {option}" in UNIT.read_text() or f", {option}" in UNIT.read_text()
    assert not re.search(rf"^{option}=", UNIT.read_text(), re.MULTILINE)
    process = confined.start([LEFT[option]], "-m", "flash_sandbox.cli", "doctor")
    printed, _ = process.communicate(timeout=60)
    (line,) = [line for line in printed.splitlines() if "bubblewrap" in line and line[0] in "✓✗"]
    assert line.startswith("✗"), printed
