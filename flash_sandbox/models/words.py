# Generated from specs/ by `python -m codegen`; do not edit.
"""Texts with names of their own, as types. A newer orchestrator may answer others, which are read, too."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = [
    "EndCause",
    "EventType",
    "FileType",
    "FrameType",
    "IdleAction",
    "NetworkMode",
    "SandboxStatus",
    "SandboxType",
    "StartType",
]

SandboxType: TypeAlias = Literal["bubblewrap", "docker", "gvisor", "firecracker"]
"""Runtime that runs a sandbox."""

StartType: TypeAlias = Literal["auto", "bubblewrap", "docker", "gvisor", "firecracker"]
"""Runtime that a sandbox is started by; auto is the best one that the host has."""

SandboxStatus: TypeAlias = Literal["creating", "running", "paused", "stopped", "error", "ended"]
"""State of a sandbox."""

EndCause: TypeAlias = Literal["exited", "out_of_memory", "stopped", "expired", "idle", "shutdown", "lost"]
"""Why a sandbox ended."""

IdleAction: TypeAlias = Literal["stop", "pause", "suspend"]
"""What is done with an idle sandbox."""

NetworkMode: TypeAlias = Literal["none", "policy", "bridge", "open"]
"""Network of a sandbox."""

FrameType: TypeAlias = Literal["started", "stdout", "stderr", "keepalive", "end", "exit"]
"""What happened to a process."""

EventType: TypeAlias = Literal[
    "watching",
    "created",
    "running",
    "paused",
    "stopped",
    "expiring",
    "expired",
    "idle",
    "out_of_memory",
    "network_refused",
    "failed",
    "removed",
    "port_opened",
    "port_closed",
    "keepalive",
]
"""What happened to a sandbox."""

FileType: TypeAlias = Literal["file", "directory", "symlink", "fifo", "socket", "char_device", "block_device"]
"""What is at a path."""
