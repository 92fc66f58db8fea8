"""The command line, but for `serve`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ordinary_user
import pytest
from command_lines import check_json

from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator.runtimes.bubblewrap.runtime import BubblewrapRuntime


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "flash_sandbox.cli", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class TestDoctor:
    def test_every_runtime_has_a_line(self) -> None:
        output = run("doctor").stdout
        assert re.findall(r"^[✓✗] (\S+)", output, re.MULTILINE) == [
            "bubblewrap",
            "docker",
            "gvisor",
            "firecracker",
        ]

    def test_a_host_with_bubblewrap_is_fine(self) -> None:
        done = run("doctor")
        assert (done.returncode, done.stdout[:12]) == (0, "✓ bubblewrap")

    def test_what_a_runtime_can_do_follows(self) -> None:
        rows = BubblewrapRuntime.capabilities.rows()
        line = "  " + " · ".join(f"{what}: {how}" for what, how in rows.items())
        assert line in run("doctor").stdout.splitlines()

    def test_a_missing_engine_comes_with_the_one_thing_to_do(self) -> None:
        output = run("doctor", DOCKER_HOST="unix:///nonexistent/docker.sock").stdout
        assert (
            "✗ docker       Docker Engine not reachable at unix:///nonexistent/docker.sock\n"
            "  → install docker.io and start its service, or set DOCKER_HOST\n"
        ) in output

    @pytest.mark.skipif(os.geteuid() != 0, reason="gVisor needs root")
    @pytest.mark.parametrize(
        ("platforms", "line"),
        [
            ("systrap ptrace", "✓ gvisor       runsc version 1.2.3, platform systrap, limits by cgroup"),
            ("ptrace", "✓ gvisor       runsc version 1.2.3, platform ptrace, limits by cgroup"),
            ("kvm", "✗ gvisor       {runsc} knows none of the platforms systrap, ptrace"),
        ],
    )
    def test_gvisors_platform_is_chosen_by_what_the_program_knows(
        self, tmp_path: Path, platforms: str, line: str
    ) -> None:
        runsc = tmp_path / "runsc"
        answers = f'case "$1" in help) echo {platforms};; *) echo runsc version 1.2.3;; esac'
        runsc.write_text(f"#!/bin/sh\n{answers}\n")
        runsc.chmod(0o755)
        output = run("doctor", PATH=f"{tmp_path}:{os.environ['PATH']}").stdout
        assert line.format(runsc=runsc) in output

    @pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user needs no capability")
    def test_root_without_what_its_sandboxes_need_is_told_what(self) -> None:
        less = "-sys_ptrace,-kill"
        line = ["setpriv", f"--inh-caps={less}", f"--bounding-set={less}", sys.executable, "-m"]
        environment = os.environ | {"DOCKER_HOST": "unix:///nowhere/docker.sock"}

        def ran(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*line, "flash_sandbox.cli", *words],
                env=environment,
                capture_output=True,
                encoding="utf-8",
                check=False,
                timeout=60,
            )

        first, second, *_ = ran("doctor").stdout.splitlines()
        assert first == "✗ bubblewrap   root lacks CAP_KILL, CAP_SYS_PTRACE"
        assert "as an ordinary user" in second
        refused = ran("run", "--type", "bubblewrap", "--", "true")
        assert (refused.returncode, "root lacks CAP_KILL" in refused.stderr) == (125, True)

    def test_it_works_as_an_ordinary_user(self, need: Callable[[str, str | None], None]) -> None:
        found = ordinary_user.command()
        if isinstance(found, str):
            need("ordinary-user", found)
            return
        command, environment = found
        done = subprocess.run(
            [*command, "-m", "flash_sandbox.cli", "doctor"],
            env=environment,
            cwd="/",
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout[:12]) == (0, "✓ bubblewrap"), done.stderr


def test_version_is_one_line() -> None:
    assert re.fullmatch(r"\d+\S*\n", run("version").stdout)


class TestAsJson:
    def test_the_version(self) -> None:
        told = check_json("version", run("version", "--json").stdout)
        assert told["version"] == run("version").stdout.strip()

    def test_what_the_host_has(self) -> None:
        told = check_json("doctor", run("doctor", "--json", DOCKER_HOST="unix:///nowhere/docker.sock").stdout)
        assert [one["name"] for one in told] == ["bubblewrap", "docker", "gvisor", "firecracker"]
        assert (told[0]["available"], told[1]["available"]) == (True, False)
        assert told[1]["remedy"] == "install docker.io and start its service, or set DOCKER_HOST"

    def test_where_it_serves(self, tmp_path: Path) -> None:
        command = [sys.executable, "-W", "error", "-m", "flash_sandbox.cli", "serve", "--json"]
        command += ["--http-port", "0", "--grpc-port", "0", "--limits", "best-effort"]
        with subprocess.Popen(
            [*command, "--state-dir", str(tmp_path)],
            env=os.environ | {"DOCKER_HOST": "unix:///nowhere/docker.sock"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            told = check_json("serve", process.stdout.readline())
            with HTTPClient(address=told["http_address"]) as client:
                assert client.list_snapshots() == []
            process.terminate()
            assert process.communicate(timeout=30)[0] == ""
        assert process.returncode == 0


def test_help_imports_no_server(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flash_sandbox.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"uvicorn", "starlette", "grpclib", "httpx", "structlog"}


@pytest.mark.parametrize("missing", ["typer", "structlog"])
def test_a_missing_extra_is_one_line_that_says_what_to_install(tmp_path: Path, missing: str) -> None:
    # An import hook that hides one package stands in for an environment without the extra.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = run("serve", "--http-port", "0", PYTHONPATH=path)
    assert done.returncode == 1
    assert re.fullmatch(r"flash-sandbox: .*pip install 'flash-sandbox\[orchestrator\]'\n", done.stderr)
