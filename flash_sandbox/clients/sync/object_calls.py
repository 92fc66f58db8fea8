# Derived from flash_sandbox/clients/aio/object_calls.py by `python -m codegen`; do not edit.
# Generated from specs/ and the clients' calls by `python -m codegen`; do not edit.
"""The calls of a sandbox under the names that they have on the clients."""

from __future__ import annotations

from ..delegation import Delegate, of_sandbox
from .api import SandboxAPI

__all__ = ["ObjectCalls"]


class ObjectCalls(Delegate):
    """What a client does with the ID of a sandbox, without the ID."""

    exec_command = of_sandbox(SandboxAPI.exec_command)
    get_status = of_sandbox(SandboxAPI.get_status)
    get_metrics = of_sandbox(SandboxAPI.get_metrics)
    get_metrics_history = of_sandbox(SandboxAPI.get_metrics_history)
    snapshot_sandbox = of_sandbox(SandboxAPI.snapshot_sandbox)
    pause_sandbox = of_sandbox(SandboxAPI.pause_sandbox)
    resume_sandbox = of_sandbox(SandboxAPI.resume_sandbox)
    start_process = of_sandbox(SandboxAPI.start_process)
    list_processes = of_sandbox(SandboxAPI.list_processes)
    wait_process = of_sandbox(SandboxAPI.wait_process)
    signal_process = of_sandbox(SandboxAPI.signal_process)
    write_stdin = of_sandbox(SandboxAPI.write_stdin)
    resize_process = of_sandbox(SandboxAPI.resize_process)
    read_file = of_sandbox(SandboxAPI.read_file)
    write_file = of_sandbox(SandboxAPI.write_file)
    stat = of_sandbox(SandboxAPI.stat)
    list_dir = of_sandbox(SandboxAPI.list_dir)
    make_dir = of_sandbox(SandboxAPI.make_dir)
    remove = of_sandbox(SandboxAPI.remove)
    move = of_sandbox(SandboxAPI.move)
    upload_archive = of_sandbox(SandboxAPI.upload_archive)
    list_ports = of_sandbox(SandboxAPI.list_ports)
    get_port_url = of_sandbox(SandboxAPI.get_port_url)
    send_to_port = of_sandbox(SandboxAPI.send_to_port)
    disconnect_port = of_sandbox(SandboxAPI.disconnect_port)
    get_info = of_sandbox(SandboxAPI.get_info)
    get_logs = of_sandbox(SandboxAPI.get_logs)
    exec_stream = of_sandbox(SandboxAPI.exec_stream)
    follow_process = of_sandbox(SandboxAPI.follow_process)
    get_platform_info = of_sandbox(SandboxAPI.get_platform_info)
    upload = of_sandbox(SandboxAPI.upload)
    download = of_sandbox(SandboxAPI.download)
    download_archive = of_sandbox(SandboxAPI.download_archive)
    connect_port = of_sandbox(SandboxAPI.connect_port)
