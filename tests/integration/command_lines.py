"""The command line as a process of its own, on pipes and on a real terminal."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import jsonschema_rs

from flash_sandbox.orchestrator import Orchestrator

# In a session of its own: what it opens first becomes its terminal (tty_ioctl(4)).
ON_TERMINAL = ["/bin/sh", "-c", 'exec "$@" <> "$0" >&0 2>&0']

SCHEMAS: dict[str, Any] = json.loads(Path(__file__).with_name("command_line_schemas.json").read_text())
"""What ``--json`` prints, by command: of each a document, or an object a line."""


def check_json(verb: str, text: str) -> Any:
    """Return what a command printed as one document, once it is what its schema says."""
    value = json.loads(text)
    jsonschema_rs.validate(SCHEMAS[verb], value)
    return value


def check_json_lines(verb: str, text: str) -> list[Any]:
    """Return what a command printed as an object a line."""
    return [check_json(verb, line) for line in text.splitlines()]


class Terminal:
    """What somebody types into and reads from a terminal."""

    def __init__(self, rows: int, columns: int) -> None:
        self.ours, self.theirs = os.openpty()
        self.path = os.ttyname(self.theirs)
        self.resize(rows, columns)
        self._seen = ""

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self.ours, (rows, columns))

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def until(self, pattern: str, patience: float = 30.0) -> None:
        """Read until what came since the last call matches, and forget that."""
        deadline = time.monotonic() + patience
        while (found := re.search(pattern, self._seen)) is None:
            assert time.monotonic() < deadline, f"{pattern!r} did not come: {self._seen!r}"
            if select.select([self.ours], [], [], 0.1)[0]:
                self._seen += os.read(self.ours, 65536).decode()
        self._seen = self._seen[found.end() :]

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


class CommandLine:
    """The command line for one orchestrator, over one transport."""

    def __init__(self, transport: str, orchestrator: Orchestrator, *verbs: str) -> None:
        address = orchestrator.http_address if transport == "http" else orchestrator.grpc_address
        self.line = [sys.executable, "-W", "error", "-m", "flash_sandbox.cli", *verbs]
        self.options = ["--transport", transport]
        self.environment = os.environ | {"FLASH_SANDBOX_ADDR": address, "TERM": "vt220"}

    def run(self, verb: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self.line, *verb.split(), *self.options, *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def printed(self, verb: str, *arguments: str) -> str:
        """Return what a command prints that succeeds and complains of nothing."""
        done = self.run(verb, *arguments)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
        return done.stdout.decode()

    def json(self, verb: str, *arguments: str) -> Any:
        return check_json(verb, self.printed(verb, "--json", *arguments))

    def json_lines(self, verb: str, *arguments: str) -> list[Any]:
        return check_json_lines(verb, self.printed(verb, "--json", *arguments))

    def begin(self, verb: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.line, *verb.split(), *self.options, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def begin_on(self, terminal: Terminal, verb: str, *arguments: str) -> subprocess.Popen[bytes]:
        line = [*ON_TERMINAL, terminal.path, *self.line, *verb.split(), *self.options, *arguments]
        return subprocess.Popen(line, env=self.environment, start_new_session=True)
