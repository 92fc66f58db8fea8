"""What is published: the wheel is complete, and installs as a small SDK or as everything."""

from __future__ import annotations

import platform
import re
import socket
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import default as MODERN
from pathlib import Path

import flash_sandbox_guest as guest
import packages
import pytest
from packages import Packages
from readme_renderer import markdown

from flash_sandbox import __all__ as PUBLIC
from flash_sandbox.orchestrator import Orchestrator
from flash_sandbox.orchestrator.guest.channel import Channel
from flash_sandbox.orchestrator.guest.streams import AgentStream, open_stream
from flash_sandbox.orchestrator.runtimes.bubblewrap.bwrap import installed_program
from hatch_build import MACHINES

Need = Callable[[str, str | None], None]

# The first test that needs the packages waits until they are built.
pytestmark = pytest.mark.timeout(600)

AGENTS = {f"flash_sandbox/orchestrator/guest/bin/agent-{machine}" for machine in MACHINES}
ROOTS = {"flash_sandbox", "flash_sandbox_http", "flash_sandbox_grpc", "flash_sandbox_guest"}
EXTRAS = tomllib.loads((packages.ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

CONSUMER = """\
from flash_sandbox import HTTPClient
with HTTPClient() as client:
    code: int = client.exec_command("id", ["true"]).exit_code
"""
WRONG = (
    'from flash_sandbox import HTTPClient\ncode: str = HTTPClient().exec_command("id", ["true"]).exit_code\n'
)

USE = """\
import sys
from flash_sandbox import HTTPClient, Sandbox, SandboxClient
for kind, address in zip((HTTPClient, SandboxClient), sys.argv[1:]):
    with kind(address=address) as client, Sandbox.create(client=client) as sandbox:
        print(sandbox.exec_command(["echo", kind.__name__]).stdout, end="")
"""


@pytest.fixture(scope="module")
def sdk(published: Packages, need: Need, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment that has the wheel and what it needs, and nothing else."""
    python = packages.environment(tmp_path_factory.mktemp("sdk") / "venv")
    need("pypi", packages.install(python, str(published.wheel)))
    return python


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_of_the_tree_is_that_of_the_sdist(published: Packages, tmp_path: Path) -> None:
    packages.build(tmp_path / "dist", packages.copy_tree(tmp_path / "tree"), "--wheel")
    (direct,) = (tmp_path / "dist").glob("*.whl")
    assert direct.name == published.wheel.name
    left, right = contents(direct), contents(published.wheel)
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []


def test_the_wheel_has_the_packages_typed_and_the_license_and_nothing_else(published: Packages) -> None:
    names = contents(published.wheel).keys()
    folders = {name.partition("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == ROOTS
    assert {f"{root}/py.typed" for root in ROOTS} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".so"))]


def test_the_wheel_has_every_file_of_the_packages(published: Packages) -> None:
    sources = [packages.ROOT / "flash_sandbox", *(packages.ROOT / "generated").glob("flash_sandbox_*")]
    files = {
        str(path.relative_to(source.parent))
        for source in sources
        for path in source.rglob("*")
        if path.is_file() and not {"__pycache__", "bin"} & set(path.parts)
    }
    assert files | AGENTS == {name for name in contents(published.wheel) if ".dist-info/" not in name}


def test_the_wheel_is_for_every_machine_and_has_the_agent_of_each(published: Packages) -> None:
    assert published.wheel.name.endswith("-py3-none-any.whl")
    # The machine is in the ELF header (elf(5)).
    machines = {name: content[18:20] for name, content in contents(published.wheel).items() if name in AGENTS}
    assert {name.rpartition("-")[2]: number for name, number in machines.items()} == {
        "x86_64": b"\x3e\x00",
        "aarch64": b"\xb7\x00",
    }


async def test_the_installed_agent_runs_programs(sdk: Path) -> None:
    probe = "import flash_sandbox; print(flash_sandbox.__file__)"
    package = Path(packages.run(sdk, "-c", probe).stdout.strip()).parent
    assert package.is_relative_to(sdk.parents[1])
    agent = package / "orchestrator" / "guest" / "bin" / f"agent-{platform.machine()}"
    ours, theirs = socket.socketpair()
    descriptor, number = ours.detach(), theirs.fileno()
    sandbox = [str(installed_program()), "--unshare-user", "--unshare-pid", "--die-with-parent", "--as-pid-1"]
    command = [*sandbox, "--ro-bind", "/", "/", "--proc", "/proc", str(agent), "--inherited", str(number)]
    channel = Channel()
    with theirs, subprocess.Popen(command, pass_fds=[number]) as process:
        stream = await open_stream(AgentStream(descriptor, descriptor), channel)
        try:
            theirs.close()
            assert await channel.open() == {}
            task = channel.run(guest.Run(argv=[b"/bin/sh", b"-c", b"echo $((6 * 7)); exit 7"]))
            printed = [piece.data async for piece in task.output()]
            assert ((await task.ended()).status, printed) == (7, [b"42\n"])
        finally:
            channel.close()
            stream.close()
            process.kill()


def test_the_sdist_has_what_building_testing_and_reading_need(published: Packages) -> None:
    with tarfile.open(published.sdist) as archive:
        names = {name.partition("/")[2].partition("/")[0] for name in archive.getnames()}
    wanted = {"Makefile", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml"}
    wanted |= {
        "flash_sandbox",
        "generated",
        "guest",
        "hatch_build.py",
        "specs",
        "codegen",
        "docs",
        "deploy",
        "tests",
        "examples",
    }
    assert wanted <= names


def test_the_long_description_renders_and_has_no_link_that_only_a_repository_resolves(
    published: Packages,
) -> None:
    (metadata,) = (text for name, text in contents(published.wheel).items() if name.endswith("/METADATA"))
    message = BytesParser(policy=MODERN).parsebytes(metadata)
    assert message["Description-Content-Type"] == "text/markdown"
    html = markdown.render(message.get_payload())
    assert html is not None
    assert html.count("<h2") >= 2
    links = [part.partition('"')[0] for part in html.split('href="')[1:]]
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_the_sdk_installs_without_the_orchestrator(sdk: Path) -> None:
    probe = "import importlib.metadata as m; print(*{found.name.lower() for found in m.distributions()})"
    installed = set(packages.run(sdk, "-c", probe).stdout.split())
    extra = {re.match(r"[\w-]+", one)[0].lower() for one in EXTRAS["orchestrator"] + EXTRAS["requests"]}
    assert {"starlette", "requests"} <= extra
    assert "httpx" in installed
    # The SDK's own httpcore needs h11, too.
    assert extra & installed == {"h11"}


def test_the_sdk_alone_has_every_public_name(sdk: Path) -> None:
    probe = "import flash_sandbox as f, sys; print([getattr(f, n) for n in sys.argv[1:]] and 'all')"
    done = packages.run(sdk, "-W", "error", "-c", probe, *PUBLIC)
    assert (done.stdout, done.stderr) == ("all\n", "")


def test_the_sdk_alone_works_over_both_transports(sdk: Path, orchestrator: Orchestrator) -> None:
    done = packages.run(
        sdk, "-W", "error", "-c", USE, str(orchestrator.http_address), str(orchestrator.grpc_address)
    )
    assert (done.stdout, done.stderr) == ("HTTPClient\nSandboxClient\n", "")


@pytest.mark.parametrize("program", ["flash-sandbox", "fsb"])
@pytest.mark.parametrize("arguments", [["version"], ["serve"], ["--help"]], ids=" ".join)
def test_the_command_of_the_sdk_alone_says_what_it_needs(
    program: str, arguments: list[str], sdk: Path
) -> None:
    done = subprocess.run(
        [sdk.parent / program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "flash-sandbox: the command line needs the orchestrator extra: "
        "pip install 'flash-sandbox[orchestrator]'\n"
    )


def test_a_program_is_type_checked_strictly_against_what_is_installed(sdk: Path, tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_text(CONSUMER)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--python-executable", str(sdk)]
    command += ["--cache-dir", str(tmp_path / "cache"), "consumer.py", "wrong.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=110)
    *complaints, summary = done.stdout.splitlines()
    assert summary == "Found 1 error in 1 file (checked 2 source files)", done.stdout
    assert complaints[0].startswith(
        'wrong.py:2: error: Incompatible types in assignment (expression has type "int"'
    )
