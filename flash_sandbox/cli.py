"""The ``flash-sandbox`` command (short: ``fsb``)."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from .models import NetworkMode

if TYPE_CHECKING:
    from .orchestrator.embedded import OrchestratorOptions
    from .orchestrator.runtimes.base import Availability

_EXTRA: Final = "pip install 'flash-sandbox[orchestrator]'"

try:
    import typer

    from .command_line import (
        copy_command,
        image_commands,
        life_commands,
        look_commands,
        mcp_command,
        port_commands,
        run_commands,
        start_commands,
        usage_commands,
        volume_commands,
    )
    from .command_line.options import AsJson
    from .command_line.output import print_json
except ModuleNotFoundError:
    raise SystemExit(f"flash-sandbox: the command line needs the orchestrator extra: {_EXTRA}") from None

__all__ = ["main"]

# Set in the environment of the process that runs in a scope of the user's systemd, so that it is tried once.
_IN_SCOPE: Final = "FLASH_SANDBOX_IN_SCOPE"
_SCOPE: Final = ("systemd-run", "--user", "--scope", "--quiet", "--collect", "-p", "Delegate=yes", "--")
_PROBE_SECONDS: Final = 5
# A sandbox takes three or four; the usual limit of 1024 would do for some 300 of them.
_DESCRIPTORS: Final = 65536

app = typer.Typer(
    name="flash-sandbox",
    help="Run untrusted code in sandboxes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Paragraphs are set anew for the width of the terminal.
    rich_markup_mode="markdown",
)
# What comes after the ID, or the first word of a command, is the command's, also what looks like an option.
_COMMAND_LAST: Final = {"allow_interspersed_args": False}

app.command("run", context_settings=_COMMAND_LAST)(run_commands.run_command)
app.command("start", context_settings=_COMMAND_LAST)(start_commands.start)
app.command("exec", context_settings=_COMMAND_LAST)(run_commands.exec_command)
app.command("ps")(look_commands.list_sandboxes)
app.command("inspect")(look_commands.inspect)
app.command("logs")(look_commands.logs)
app.command("stats")(usage_commands.stats)
app.command("top")(usage_commands.top)
app.command("cp")(copy_command.copy)
app.command("ports")(port_commands.ports)
app.command("port-forward")(port_commands.port_forward)
app.command("pause")(life_commands.pause)
app.command("resume")(life_commands.resume)
app.command("network")(life_commands.network)
app.command("snapshot")(life_commands.snapshot)
app.command("fork")(life_commands.fork)
app.add_typer(life_commands.snapshots_app, name="snapshots", no_args_is_help=True)
app.command("restore")(start_commands.restore)
app.command("stop")(life_commands.stop)
app.command("events")(look_commands.events)
app.add_typer(volume_commands.app, name="volume")
app.add_typer(image_commands.app, name="image")
app.command("mcp")(mcp_command.serve_mcp)
# What those look for who know other tools.
app.command("ls", hidden=True)(look_commands.list_sandboxes)
app.command("create", hidden=True, context_settings=_COMMAND_LAST)(start_commands.start)
app.command("kill", hidden=True)(life_commands.stop)
app.command("rm", hidden=True)(life_commands.stop)


class LimitsChoice(StrEnum):
    """What to do where the host gives no cgroup."""

    ENFORCE = "enforce"
    BEST_EFFORT = "best-effort"


class LogFormatChoice(StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Name or IP address to listen on.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Port for HTTP; 0: a free one.")] = 8080,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="Port for gRPC; 0: a free one.")] = 50051,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where snapshots and images are kept.", show_default="the system's or the user's own"
        ),
    ] = None,
    image_root: Annotated[
        list[Path] | None,
        typer.Option(help="Directory from which images are taken, besides rootfs/ in the state directory."),
    ] = None,
    allow_registry: Annotated[
        list[str] | None,
        typer.Option(
            help="Registry whose images may be started, or a pattern such as `ghcr.io/owner/*`, or `*` for "
            "all; docker-daemon: all that Docker Engine has.",
            show_default="docker.io",
        ),
    ] = None,
    image_store_gib: Annotated[
        int, typer.Option(min=1, help="What unpacked images may take besides those in use, in GiB.")
    ] = 20,
    default_network: Annotated[
        NetworkMode, typer.Option(help="Network of a sandbox whose start names none.")
    ] = "none",
    max_network: Annotated[
        NetworkMode,
        typer.Option(help="Network that starts may ask for at most: none, policy or bridge."),
    ] = "bridge",
    allow_network: Annotated[
        list[str] | None,
        typer.Option(
            help="What sandboxes with a network may reach besides the public Internet: a network such as "
            "10.1.0.0/16, an address, private, metadata, host, or any.",
            metavar="NETWORK",
            show_default="nothing",
        ),
    ] = None,
    deny_network: Annotated[
        list[str] | None,
        typer.Option(
            help="What they may not reach, whatever else they may.", metavar="NETWORK", show_default="nothing"
        ),
    ] = None,
    resolve: Annotated[
        list[str] | None,
        typer.Option(
            help="Address of a name, which a network policy may allow wherever it is.",
            metavar="NAME=ADDRESS",
            show_default="as this host resolves it",
        ),
    ] = None,
    max_ttl: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which a sandbox expires at the latest.",
            metavar="SECONDS",
            show_default="as long as its start asks for",
        ),
    ] = None,
    default_ttl: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds after which a sandbox expires whose start asks for none, anew from each call that "
            "uses it; 0: never.",
            metavar="SECONDS",
        ),
    ] = 3600.0,
    max_sandboxes: Annotated[
        int | None, typer.Option(min=1, help="Most sandboxes at a time.", show_default="no limit")
    ] = None,
    max_snapshot_age: Annotated[
        float | None,
        typer.Option(
            help="Hours after which a snapshot is removed.",
            metavar="HOURS",
            show_default="kept until removed",
        ),
    ] = None,
    firecracker_runtime: Annotated[
        str,
        typer.Option(
            help="Docker Engine's name of the OCI runtime that boots Firecracker.", show_default="Kata's own"
        ),
    ] = "",
    volume_root: Annotated[
        list[str] | None,
        typer.Option(
            help="Directory at or below which sandboxes may have volumes; with :ro to be read alone.",
            metavar="DIR[:ro]",
            show_default="none",
        ),
    ] = None,
    warm: Annotated[
        list[str] | None,
        typer.Option(
            help="Sandboxes kept ready for starts that ask for no more than that image, of the runtime auto "
            "or of the one named: `host=4`, `gvisor:python:3.12=2`.",
            metavar="[RUNTIME:]IMAGE=N",
            show_default="none",
        ),
    ] = None,
    keep_ended: Annotated[
        float,
        typer.Option(min=0, help="Seconds for which is told of a sandbox that has ended.", metavar="SECONDS"),
    ] = 3600,
    end_sandboxes: Annotated[
        bool,
        typer.Option(
            "--end-sandboxes",
            help="At its end, end docker, gvisor and firecracker sandboxes, too; otherwise the next one on "
            "the same state directory goes on with them.",
        ),
    ] = False,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="FLASH_SANDBOX_API_KEY",
            help="Key that callers must carry.",
            show_default="none: only your own processes, and root's, may call",
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Listen beyond loopback also without a key, and let everybody in."),
    ] = False,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Let every user of this machine in without a key.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name that browsers may call it by without a key, such as a proxy's.",
            show_default="localhost and IP addresses",
        ),
    ] = None,
    ports_domain: Annotated[
        str | None,
        typer.Option(
            help="Domain below which each port of a sandbox has a name, such as ports.example.com; "
            "https:// before it where a proxy adds TLS.",
            show_default="localhost",
        ),
    ] = None,
    limits: Annotated[
        LimitsChoice, typer.Option(help="Without cgroups: refuse to serve, or sample memory and use rlimits.")
    ] = LimitsChoice.ENFORCE,
    log_format: Annotated[
        LogFormatChoice, typer.Option(help="How the log is written to standard error.")
    ] = LogFormatChoice.TEXT,
    as_json: AsJson = False,
) -> None:
    """Serve sandboxes over HTTP and gRPC until SIGTERM or SIGINT."""
    from .orchestrator.doors.request_log import log_to_stderr
    from .orchestrator.embedded import new_event_loop
    from .orchestrator.state.directory import default_state_dir

    trouble = _cgroup_trouble()
    if trouble is not None and limits is LimitsChoice.ENFORCE:
        _run_in_scope()
    elif trouble is not None:
        typer.echo(f"warning: limits are best-effort: {trouble}", err=True)
    options: OrchestratorOptions = {
        "host": host,
        "http_port": http_port,
        "grpc_port": grpc_port,
        "state_dir": state_dir or default_state_dir(),
        "limits": limits.value,
        "image_roots": image_root or (),
        "registries": allow_registry,
        "image_store_bytes": image_store_gib * 1024**3,
        "default_network": default_network,
        "max_network": max_network,
        "allow_networks": allow_network or (),
        "deny_networks": deny_network or (),
        "resolve": resolve or (),
        "max_ttl": max_ttl,
        "default_ttl": default_ttl,
        "max_sandboxes": max_sandboxes,
        "max_snapshot_hours": max_snapshot_age,
        "firecracker_runtime": firecracker_runtime,
        "volume_roots": volume_root or (),
        "warm": dict(map(_warm_pool, warm or ())),
        "end_sandboxes": end_sandboxes,
        "keep_ended": keep_ended,
        "api_key": api_key or None,
        "insecure": insecure,
        "no_key": no_key,
        "hosts": allow_host or (),
        "ports_domain": ports_domain,
        "log_format": log_format.value,
    }
    log_to_stderr()
    _allow_many_descriptors()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        code = runner.run(_serve(options, as_json=as_json))
    raise typer.Exit(code)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Tell which runtimes this host has and what they can do, or the one thing to do to have one."""
    from rich.console import Console

    from .orchestrator.runtimes.catalogue import all_runtimes
    from .orchestrator.state.directory import default_state_dir

    runtimes = all_runtimes(default_state_dir())

    async def check() -> list[Availability]:
        return list(await asyncio.gather(*(runtime.check() for runtime in runtimes.values())))

    found = asyncio.run(check())
    code = 0 if any(one.available for one in found) else 1
    if as_json:
        able = {name: runtime.capabilities.rows() for name, runtime in runtimes.items()}
        print_json([asdict(one) | {"capabilities": able[one.name]} for one in found])
        raise typer.Exit(code)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for one in found:
        mark, style = ("✓", "green") if one.available else ("✗", "red")
        console.print(f"{mark} {one.name:<12} {one.detail}", style=style)
        for warning in one.warnings:
            console.print(f"  ! {warning}", style="yellow")
        if one.remedy:
            console.print(f"  → {one.remedy}")
        else:
            rows = runtimes[one.name].capabilities.rows().items()
            console.print("  " + " · ".join(f"{what}: {how}" for what, how in rows), style="dim")
    raise typer.Exit(code)


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    from . import __version__

    if as_json:
        print_json({"version": __version__})
    else:
        typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    called = os.path.basename(sys.argv[0])
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What this terminal has no letters for is shown as standard error shows it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # The name decides whose completion it is.
        app(prog_name="fsb" if called == "fsb" else "flash-sandbox")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("flash_sandbox"):
            raise
        raise SystemExit(f"flash-sandbox: {error.name} is not installed: {_EXTRA}") from None


def _warm_pool(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isascii() or not number.isdigit():
        raise typer.BadParameter(f"it is [RUNTIME:]IMAGE=N, not {text!r}", param_hint="--warm")
    return name, int(number)


async def _serve(options: OrchestratorOptions, *, as_json: bool) -> int:
    from .errors import SandboxError
    from .orchestrator.embedded import Orchestrator
    from .orchestrator.state.directory import StateDirError

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        # A second signal ends at once: what it leaves behind, the next start removes.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    # Where the caller ignores it, nobody can know how a child has ended (wait(2)).
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    async with AsyncExitStack() as stack:
        try:
            orchestrator = await stack.enter_async_context(Orchestrator(**options))
        except (SandboxError, StateDirError, OSError, ValueError) as error:
            typer.echo(f"flash-sandbox serve: {error}", err=True)
            return 1
        addresses = {"http_address": orchestrator.http_address, "grpc_address": orchestrator.grpc_address}
        if not options["api_key"] and (options["insecure"] or options["no_key"]):
            who = "everybody who reaches it" if options["insecure"] else "every user of this machine"
            typer.echo(f"warning: {who} may call: no key is asked for", err=True)
        if as_json:
            print_json(addresses)
        else:
            typer.echo("HTTP  {http_address}\ngRPC  {grpc_address}".format(**addresses))
        sys.stdout.flush()
        await stop.wait()
    return 0


def _allow_many_descriptors() -> None:
    """Raise the limit of open descriptors as far as this process may."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _cgroup_trouble() -> str | None:
    """Return why this process has no cgroup to limit sandboxes with, or None where it has."""
    from .orchestrator.linux.cgroups import CgroupError, find_hierarchy

    try:
        find_hierarchy().close()
    except CgroupError as error:
        return str(error)
    return None


def _run_in_scope() -> None:
    """Begin this command anew in a delegated cgroup, where this user's systemd gives one; else return."""
    if os.geteuid() == 0 or os.environ.get(_IN_SCOPE) or shutil.which(_SCOPE[0]) is None:
        return
    try:
        probe = subprocess.run([*_SCOPE, "true"], capture_output=True, timeout=_PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return
    if probe.returncode == 0:
        command = [*_SCOPE, sys.executable, "-m", "flash_sandbox.cli", *sys.argv[1:]]
        os.execvpe(command[0], command, os.environ | {_IN_SCOPE: "1"})


if __name__ == "__main__":
    main()
