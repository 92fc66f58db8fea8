"""Docker sandboxes beside docker-py, the engine's own Python library, doing the same with the same engine.

Both ask for the same container: the same limits, no capability, no network, an init. The engine is one of the
benchmark's own, as the tests start it.
"""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient

from .engines import IMAGE, running_engine
from .measure import Times, Watch, aim_at, measured
from .report import Answer, Bars, Report, TimesTable
from .serving import serving

__all__ = ["PEER", "peer_start", "report"]

PEER: Final = "docker-py"
AIM: Final = 1.0
_AIM_EXEC: Final = 0.05
_AIM_ALL: Final = 0.75
_ALL: Final = "start, exec, stop"
_MEMORY_MB: Final = 256
_TEXT: Final = f"""\
The floor is {PEER} asking the same engine for the same. The rows of the clients have in
addition a request to the orchestrator and its answer, and what is written down to go on
after a kill. NOTES.md tells where the time goes."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    docker: Any = importlib.import_module("docker")
    with ExitStack() as stack:
        engine = stack.enter_context(running_engine())
        http, grpc, _ = stack.enter_context(serving(docker_host=engine.host))
        peer = docker.DockerClient(base_url=engine.host)
        stack.callback(peer.close)
        over_http = stack.enter_context(HTTPClient(address=http))
        over_grpc = stack.enter_context(SandboxClient(address=grpc))
        rows: dict[str, Callable[[], Times]] = {
            PEER: lambda: _peer_round(peer),
            "HTTPClient": lambda: _round(over_http),
            "SandboxClient": lambda: _round(over_grpc),
        }
        table = measured(rows, rounds)
    aims = {"exec": _AIM_EXEC, _ALL: _AIM_ALL}
    for what, by_who in table.items():
        aim_at(by_who, PEER, aims.get(what, AIM))
    answers = [Answer.slowest(f"docker {what}", table, PEER, {what}, aim) for what, aim in aims.items()]
    answers.append(Answer.slowest("docker rows", table, PEER, table.keys() - aims.keys(), AIM))
    plot = Bars.of("docker", f"Docker sandboxes beside {PEER}", table)
    return Report("Docker", _TEXT, [TimesTable(table, PEER)], answers, [plot])


def _whole(times: Times) -> Times:
    return times | {_ALL: times["start"] + times["first exec"] + times["stop"]}


def _round(client: SandboxAPI) -> Times:
    watch = Watch()
    sandbox_id = client.start_sandbox("docker", IMAGE, memory_mb=_MEMORY_MB)
    watch("start")
    client.exec_command(sandbox_id, ["true"])
    watch("first exec")
    result = client.exec_command(sandbox_id, ["true"])
    watch("exec")
    client.get_metrics(sandbox_id)
    watch("metrics")
    path = client.snapshot_sandbox(sandbox_id).snapshot_path
    watch("snapshot")
    copy = client.start_sandbox("docker", snapshot_path=path, memory_mb=_MEMORY_MB)
    watch("restore")
    client.stop_sandbox(copy)
    watch("stop")
    client.stop_sandbox(sandbox_id)
    assert result.exit_code == 0, result
    return _whole(watch.times)


def _peer_round(peer: Any) -> Times:
    watch = Watch()
    container = peer_start(peer, IMAGE)
    watch("start")
    container.exec_run(["true"], demux=True)
    watch("first exec")
    result = container.exec_run(["true"], demux=True)
    watch("exec")
    container.stats(stream=False, one_shot=True)
    watch("metrics")
    container.pause()
    tag = secrets.token_hex(8)
    image = container.commit("peer", tag, pause=False)
    watch("snapshot")
    copy = peer_start(peer, image.id)
    watch("restore")
    copy.remove(force=True, v=True)
    watch("stop")
    container.remove(force=True, v=True)
    peer.images.remove(f"peer:{tag}", force=True)
    assert result.exit_code == 0, result
    return _whole(watch.times)


def peer_start(peer: Any, image: str) -> Any:
    """Have docker-py start a container like those of our docker runtime."""
    return peer.containers.run(
        image,
        ["tail", "-f", "/dev/null"],
        entrypoint=[],
        detach=True,
        cap_drop=["ALL"],
        cgroupns="private",
        init=True,
        ipc_mode="private",
        log_config={"Type": "local", "Config": {"max-size": "1m", "max-file": "1", "compress": "false"}},
        mem_limit=_MEMORY_MB * 1024 * 1024,
        memswap_limit=_MEMORY_MB * 1024 * 1024,
        nano_cpus=1_000_000_000,
        network_mode="none",
        pids_limit=512,
        security_opt=["no-new-privileges"],
    )
