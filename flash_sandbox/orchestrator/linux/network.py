"""What went over a sandbox's network, from /proc of its network namespace (proc_pid_net(5))."""

from __future__ import annotations

from pathlib import Path

__all__ = ["interface_bytes", "parse_interfaces"]


def interface_bytes(pid: int) -> tuple[int, int]:
    """Return bytes received and sent in the network namespace of a process, loopback left out."""
    return parse_interfaces(Path(f"/proc/{pid}/net/dev").read_text())


def parse_interfaces(text: str) -> tuple[int, int]:
    """Return bytes received and sent from a table of /proc/net/dev: columns 1 and 9 of each interface."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, columns = line.partition(":")
        if name.strip() != "lo":
            values = columns.split()
            received += int(values[0])
            sent += int(values[8])
    return received, sent
