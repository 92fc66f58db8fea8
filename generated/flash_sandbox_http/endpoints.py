"""The functions that call each operation of the OpenAPI document. Generated; do not edit."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

from .types import Response

__all__ = ["Endpoint", "endpoint"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The generated functions of one operation; all take its parameters and its body by keyword.

    Attributes:
        build: Returns the keyword arguments of ``httpx.Client.request``.
        call: Calls the operation through ``client.get_httpx_client()``.
        call_async: Calls the operation through ``client.get_async_httpx_client()``.
    """

    build: Callable[..., dict[str, Any]]
    call: Callable[..., Response[Any]]
    call_async: Callable[..., Awaitable[Response[Any]]]


@cache
def endpoint(operation: str) -> Endpoint:
    """Return the functions of an operation, imported when it is called first.

    Raises:
        KeyError: There is no such operation.
    """
    module = import_module(_MODULES[operation], __package__)
    return Endpoint(module._get_kwargs, module.sync_detailed, module.asyncio_detailed)


_MODULES: Final[dict[str, str]] = {
    "download_archive": ".api.files.download_archive",
    "list_dir": ".api.files.list_dir",
    "make_dir": ".api.files.make_dir",
    "move": ".api.files.move",
    "read_file": ".api.files.read_file",
    "remove": ".api.files.remove",
    "stat": ".api.files.stat",
    "upload_archive": ".api.files.upload_archive",
    "write_file": ".api.files.write_file",
    "connect_port": ".api.ports.connect_port",
    "disconnect_port": ".api.ports.disconnect_port",
    "get_port_url": ".api.ports.get_port_url",
    "list_ports": ".api.ports.list_ports",
    "send_to_port": ".api.ports.send_to_port",
    "exec_stream": ".api.processes.exec_stream",
    "follow_process": ".api.processes.follow_process",
    "get_platform_info": ".api.processes.get_platform_info",
    "list_processes": ".api.processes.list_processes",
    "resize_process": ".api.processes.resize_process",
    "run_python": ".api.processes.run_python",
    "signal_process": ".api.processes.signal_process",
    "start_process": ".api.processes.start_process",
    "wait_process": ".api.processes.wait_process",
    "write_stdin": ".api.processes.write_stdin",
    "exec_command": ".api.sandboxes.exec_command",
    "fork_sandbox": ".api.sandboxes.fork_sandbox",
    "get_info": ".api.sandboxes.get_info",
    "get_logs": ".api.sandboxes.get_logs",
    "get_metrics": ".api.sandboxes.get_metrics",
    "get_metrics_history": ".api.sandboxes.get_metrics_history",
    "get_status": ".api.sandboxes.get_status",
    "keep_alive": ".api.sandboxes.keep_alive",
    "list_sandboxes": ".api.sandboxes.list_sandboxes",
    "pause_sandbox": ".api.sandboxes.pause_sandbox",
    "resume_sandbox": ".api.sandboxes.resume_sandbox",
    "set_network": ".api.sandboxes.set_network",
    "snapshot_sandbox": ".api.sandboxes.snapshot_sandbox",
    "start_sandbox": ".api.sandboxes.start_sandbox",
    "stop_sandbox": ".api.sandboxes.stop_sandbox",
    "watch_events": ".api.sandboxes.watch_events",
    "get_health": ".api.service.get_health",
    "export_snapshot": ".api.snapshots.export_snapshot",
    "import_snapshot": ".api.snapshots.import_snapshot",
    "list_snapshots": ".api.snapshots.list_snapshots",
    "remove_snapshot": ".api.snapshots.remove_snapshot",
    "create_volume": ".api.volumes.create_volume",
    "list_volumes": ".api.volumes.list_volumes",
    "remove_volume": ".api.volumes.remove_volume",
}
