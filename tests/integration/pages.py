"""The pages of the documentation as programs: their blocks of code run in order, as a reader would run them.

Python goes to one interpreter for the whole page, shell to a real shell each time, in one directory and with
the variables that the page's shell blocks have exported. A block of text right after either is what it
prints; ``...`` in it stands for anything. Of comments before a block, ``in the background`` lets it run on
until the page ends, and ``not run: REASON`` leaves it out.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PORTS: Final = ("8080", "50051", "8443")
"""Ports that pages name; each stands for another one here."""

_SESSION: Final = Path(__file__).parent / "programs" / "python_session.py"
_PATIENCE_SECONDS: Final = 60
_BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<remark>[^>]*) -->\n)?^(?P<fence>```+)(?P<kind>[^\n`]*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: The page, relative to the documentation.
        line: Its first line in the page, counted from 1.
        kind: Its language.
        text: What it says.
        remark: The comment before it; empty where there is none.
        prints: What it prints; None where the page does not say.
    """

    page: str
    line: int
    kind: str
    text: str
    remark: str = ""
    prints: str | None = None

    @property
    def not_run(self) -> str:
        """Why it is not run; empty where it is."""
        return self.remark.removeprefix("not run: ") if self.remark.startswith("not run: ") else ""

    @property
    def in_background(self) -> bool:
        return self.remark == "in the background"


def pages() -> list[str]:
    """Return the name of every page."""
    return sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def blocks(page: str, text: str | None = None) -> list[Block]:
    """Return the blocks of a page that are code, in order."""
    text = (DOCS / page).read_text(encoding="utf-8") if text is None else text
    found: list[Block] = []
    end = 0
    for match in _BLOCK.finditer(text):
        kind = match["kind"].strip()
        directly = not text[end : match.start()].strip()
        if kind == "text" and directly and found:
            found[-1] = Block(**(vars(found[-1]) | {"prints": match["text"]}))
        # In braces: a directive of Sphinx, which is no code.
        elif not kind.startswith("{"):
            line = text.count("\n", 0, match.start("text")) + 1
            found.append(Block(page, line, kind, match["text"], match["remark"] or ""))
        end = match.end()
    return found


@dataclass
class Page:
    """A page that is being run, as a context manager.

    Args:
        directory: Where it works: an empty directory.
        ports: The port in place of each that pages name; what is left out is a free one.
        environment: Variables beside the usual.
        in_a_loop: Whether its Python runs inside of a running event loop, as that of a notebook.
    """

    directory: Path
    ports: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    in_a_loop: bool = False

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._python: subprocess.Popen[str] | None = None
        with ExitStack() as sockets:
            taken = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
            free = {port: str(sock.getsockname()[1]) for port, sock in zip(PORTS, taken, strict=True)}
        self._ports = free | dict(self.ports)
        commands = self._commands()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FLASH_SANDBOX_")},
            "HOME": str(self.directory),
            "PATH": os.pathsep.join(
                [str(commands), sysconfig.get_path("scripts"), os.environ["PATH"], "/usr/sbin"]
            ),
            "XDG_STATE_HOME": str(self.directory / ".state"),
            **self.environment,
        }
        if self.ports:
            self._orchestrator_runs()
        return self

    def _orchestrator_runs(self) -> None:
        """Have the commands of the page find the orchestrator of the page."""
        self._environment["FLASH_SANDBOX_ADDR"] = f"127.0.0.1:{self._ports['8080']}"

    def _commands(self) -> Path:
        """Make the commands that pages call: what these start listens and writes where nobody else does."""
        limits = self.environment.get("PAGE_LIMITS", "enforce")
        state = f"--state-dir {self.directory / '.state'}"
        serve = f"--http-port {self._ports['8080']} --grpc-port {self._ports['50051']} --limits {limits}"
        folder = self.directory / ".commands"
        folder.mkdir()
        for name in ("flash-sandbox", "fsb"):
            (folder / name).write_text(
                '#!/bin/sh\ncase "$1" in\n'
                f'serve) set -- "$@" {state} {serve} ;;\nimage) set -- "$@" {state} ;;\nesac\n'
                f'exec "{sys.executable}" -W error -m flash_sandbox.cli "$@"\n'
            )
            (folder / name).chmod(0o755)
        return folder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, block: Block) -> str:
        """Run a block and return what it printed; fail where it fails."""
        text = block.text
        for said, here in self._ports.items():
            text = re.sub(rf"(?<!\d){said}(?!\d)", here, text)
        if block.in_background:
            self._begin(block, text)
            return ""
        printed, error = self._run_python(block, text) if block.kind == "python" else self._run_shell(text)
        assert not error, f"docs/{block.page}:{block.line}:\n{printed}{error}"
        return printed

    def _run_python(self, block: Block, text: str) -> tuple[str, str]:
        if self._python is None:
            command = [sys.executable, "-W", "error", str(_SESSION), *(["loop"] if self.in_a_loop else [])]
            self._python = self._spawn(command, stdin=subprocess.PIPE)
            self._stack.callback(self._python.stdin.close if self._python.stdin else lambda: None)
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        asked = {"file": str(DOCS / block.page), "line": block.line, "text": text}
        self._python.stdin.write(json.dumps(asked) + "\n")
        self._python.stdin.flush()
        answered = json.loads(
            self._python.stdout.readline() or '{"printed": "", "error": "Python has ended"}'
        )
        return answered["printed"], answered["error"]

    def _run_shell(self, text: str) -> tuple[str, str]:
        done = subprocess.run(
            self._shell(text),
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
        return done.stdout, f"status {done.returncode}: {done.stderr}" if done.returncode else ""

    def _shell(self, text: str) -> list[str]:
        kept = "export -p > .exported"
        return ["bash", "-c", f"[ ! -e .exported ] || . ./.exported\nset -euo pipefail\n{text}\n{kept}\n"]

    def _begin(self, block: Block, text: str) -> None:
        with (self.directory / "background.log").open("a") as log:
            process = self._spawn(self._shell(text), stdin=subprocess.DEVNULL, output=log)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        waiting = list(self._ports.values())[:2] if "flash-sandbox serve" in text else [self._ports["8443"]]
        while waiting:
            log_text = (self.directory / "background.log").read_text()
            assert process.poll() is None, f"docs/{block.page}:{block.line} ended: {log_text}"
            assert time.monotonic() < deadline, f"docs/{block.page}:{block.line} does not listen: {log_text}"
            with suppress(OSError), socket.create_connection(("127.0.0.1", int(waiting[0])), 1):
                waiting.pop(0)
        if "flash-sandbox serve" in text:
            self._orchestrator_runs()

    def _spawn(
        self, command: list[str], stdin: int, output: IO[str] | int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            cwd=self.directory,
            env=self._environment,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT if output is not subprocess.PIPE else None,
            text=True,
            start_new_session=True,
        )
        self._stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[str]) -> None:
    """End a process with its children, as Ctrl-C would."""
    try:
        if process.stdin is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        process.wait(_PATIENCE_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def matches(printed: str, said: str) -> bool:
    """Tell whether what was printed is what a page says, in which ``...`` stands for anything."""
    pattern = ".*?".join(map(re.escape, said.strip().split("...")))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
