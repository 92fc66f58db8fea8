"""Type checkers accept a program that uses every public method, and find mistakes in one."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

import flash_sandbox
from flash_sandbox import (
    Archive,
    AsyncArchive,
    AsyncCommands,
    AsyncEvents,
    AsyncExecStream,
    AsyncFiles,
    AsyncForward,
    AsyncFrames,
    AsyncHTTPClient,
    AsyncPortConnection,
    AsyncPorts,
    AsyncProcess,
    AsyncSandbox,
    AsyncSandboxAPI,
    AsyncSandboxClient,
    Commands,
    Events,
    ExecStream,
    Files,
    Forward,
    Frames,
    HTTPClient,
    PortConnection,
    Ports,
    Process,
    Sandbox,
    SandboxAPI,
    SandboxClient,
)

ROOT: Final = Path(__file__).resolve().parents[2]
CLIENTS: Final = ROOT / "flash_sandbox" / "clients"
PROGRAMS: Final[dict[str, list[type[Any]]]] = {
    "every_method.py": [
        *(Archive, Commands, Events, ExecStream, Files, Forward, Frames, PortConnection, Ports, Process),
        *(Sandbox, SandboxAPI),
    ],
    "every_async_method.py": [
        *(AsyncArchive, AsyncCommands, AsyncEvents, AsyncExecStream, AsyncFiles, AsyncForward, AsyncFrames),
        *(AsyncPortConnection, AsyncPorts, AsyncProcess, AsyncSandbox, AsyncSandboxAPI),
    ],
}
# Each is an error for either type checker.
MISTAKES: Final = [
    'Sandbox.create(type="podman")',
    'Sandbox.create("host", network="mesh")',
    'Sandbox.create("host", ["true"])',
    'Sandbox.list(status="asleep")',
    'client.start_sandbox("podman")',
    'client.list_sandboxes(type="auto")',
    "Sandbox.create(ttl_seconds=1)",
    "sandbox.files.read(7)",
    'sandbox.files.read("/f", max_byte=1)',
    'sandbox.commands.start("id").wait(chek=True)',
    'sandbox.run("id").stdot',
    'flash_sandbox.connect("grpc://h").statu("a")',
]


def public_names(kind: type[Any]) -> set[str]:
    """Return the public methods and properties of a class."""
    names = [name for name in dir(kind) if not name.startswith("_")]
    kinds = (property, classmethod)
    values = {name: inspect.getattr_static(kind, name) for name in names}
    return {name for name, value in values.items() if inspect.isfunction(value) or isinstance(value, kinds)}


def files_of(kind: type[Any]) -> set[Path]:
    """Return where the functions of a class are written."""
    functions = [
        value for name in dir(kind) if inspect.isfunction(value := inspect.getattr_static(kind, name))
    ]
    return {Path(function.__code__.co_filename) for function in functions}


def used_names(program: str) -> dict[str, set[str]]:
    """Return what a program uses of the classes of its functions' arguments, and of classes by their name."""
    used: dict[str, set[str]] = {}
    for function in ast.parse(program).body:
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        classes = {
            argument.arg: argument.annotation.attr
            for argument in function.args.args
            if isinstance(argument.annotation, ast.Attribute)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used.setdefault(classes.get(node.value.id, ""), set()).add(node.attr)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                used.setdefault(node.value.attr, set()).add(node.attr)
    return used


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_names_every_public_method(name: str) -> None:
    used = used_names((ROOT / "tests" / "typed" / name).read_text())
    missing = {kind.__name__: public_names(kind) - used.get(kind.__name__, set()) for kind in PROGRAMS[name]}
    assert {kind: names for kind, names in missing.items() if names} == {}


def test_every_class_with_calls_is_in_a_program() -> None:
    classes = [value for value in vars(flash_sandbox).values() if inspect.isclass(value)]
    of_clients = {kind for kind in classes if any(CLIENTS in path.parents for path in files_of(kind))}
    # Their calls are those of the interface.
    of_clients -= {HTTPClient, SandboxClient, AsyncHTTPClient, AsyncSandboxClient}
    assert of_clients == {kind for kinds in PROGRAMS.values() for kind in kinds}


def mypy(path: Path) -> set[int]:
    """Return the lines in which mypy, strict, finds an error."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports", "silent"]
    # It is kept from one run to the next: most of the time goes into the package.
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "typed"), "--output", "json", str(path)]
    environment = os.environ | {"MYPYPATH": f"{ROOT}{os.pathsep}{ROOT / 'generated'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["line"] for each in found if each["severity"] == "error"}


def pyright(path: Path, folder: Path) -> set[int]:
    """Return the lines in which pyright, strict, finds an error."""
    paths = [str(ROOT), str(ROOT / "generated")]
    config = {"include": [str(path)], "extraPaths": paths, "typeCheckingMode": "strict"}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(folder)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    assert answer["summary"]["filesAnalyzed"] == 1
    found = [each for each in answer["generalDiagnostics"] if each["severity"] == "error"]
    return {each["range"]["start"]["line"] + 1 for each in found}


@pytest.mark.parametrize("name", PROGRAMS)
def test_mypy_accepts_the_program(name: str) -> None:
    assert mypy(ROOT / "tests" / "typed" / name) == set()


@pytest.mark.parametrize("name", PROGRAMS)
def test_pyright_accepts_the_program(name: str, tmp_path: Path) -> None:
    assert pyright(ROOT / "tests" / "typed" / name, tmp_path) == set()


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_find_every_mistake(checker: str, tmp_path: Path) -> None:
    head = [
        "import flash_sandbox",
        "from flash_sandbox import Sandbox, SandboxAPI",
        "def use(client: SandboxAPI, sandbox: Sandbox) -> None:",
    ]
    program = tmp_path / "mistakes.py"
    program.write_text("\n".join(head + [f"    print({mistake})" for mistake in MISTAKES]))
    lines = mypy(program) if checker == "mypy" else pyright(program, tmp_path)
    right = [mistake for number, mistake in enumerate(MISTAKES, len(head) + 1) if number not in lines]
    assert right == []
    assert lines.isdisjoint(range(len(head) + 1))
