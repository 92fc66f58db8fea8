# Generated from specs/ and the clients' calls by `python -m codegen`; do not edit.
"""The calls of a sandbox under the names that they have on the clients."""

from __future__ import annotations

from ..delegation import Delegate, of_sandbox
from .api import AsyncSandboxAPI

__all__ = ["AsyncObjectCalls"]


class AsyncObjectCalls(Delegate):
    """What a client does with the ID of a sandbox, without the ID."""

    exec_command = of_sandbox(AsyncSandboxAPI.exec_command)
    get_status = of_sandbox(AsyncSandboxAPI.get_status)
    get_metrics = of_sandbox(AsyncSandboxAPI.get_metrics)
    get_metrics_history = of_sandbox(AsyncSandboxAPI.get_metrics_history)
    snapshot_sandbox = of_sandbox(AsyncSandboxAPI.snapshot_sandbox)
    pause_sandbox = of_sandbox(AsyncSandboxAPI.pause_sandbox)
    resume_sandbox = of_sandbox(AsyncSandboxAPI.resume_sandbox)
    start_process = of_sandbox(AsyncSandboxAPI.start_process)
    list_processes = of_sandbox(AsyncSandboxAPI.list_processes)
    wait_process = of_sandbox(AsyncSandboxAPI.wait_process)
    signal_process = of_sandbox(AsyncSandboxAPI.signal_process)
    write_stdin = of_sandbox(AsyncSandboxAPI.write_stdin)
    resize_process = of_sandbox(AsyncSandboxAPI.resize_process)
    read_file = of_sandbox(AsyncSandboxAPI.read_file)
    write_file = of_sandbox(AsyncSandboxAPI.write_file)
    stat = of_sandbox(AsyncSandboxAPI.stat)
    list_dir = of_sandbox(AsyncSandboxAPI.list_dir)
    make_dir = of_sandbox(AsyncSandboxAPI.make_dir)
    remove = of_sandbox(AsyncSandboxAPI.remove)
    move = of_sandbox(AsyncSandboxAPI.move)
    upload_archive = of_sandbox(AsyncSandboxAPI.upload_archive)
    list_ports = of_sandbox(AsyncSandboxAPI.list_ports)
    get_port_url = of_sandbox(AsyncSandboxAPI.get_port_url)
    send_to_port = of_sandbox(AsyncSandboxAPI.send_to_port)
    disconnect_port = of_sandbox(AsyncSandboxAPI.disconnect_port)
    get_info = of_sandbox(AsyncSandboxAPI.get_info)
    get_logs = of_sandbox(AsyncSandboxAPI.get_logs)
    exec_stream = of_sandbox(AsyncSandboxAPI.exec_stream)
    follow_process = of_sandbox(AsyncSandboxAPI.follow_process)
    get_platform_info = of_sandbox(AsyncSandboxAPI.get_platform_info)
    upload = of_sandbox(AsyncSandboxAPI.upload)
    download = of_sandbox(AsyncSandboxAPI.download)
    download_archive = of_sandbox(AsyncSandboxAPI.download_archive)
    connect_port = of_sandbox(AsyncSandboxAPI.connect_port)
