"""A sandbox as a container: what is asked of the engine, what it must have granted, what it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ....models import DEFAULT_SHM_MB, StartRequest
from ...images.engine import SNAPSHOT_LABEL
from ...linux import privileges
from ...linux.cgroups import group_of_process, usage_of_process
from ...linux.limits import MIB, Limits, Usage
from ...linux.network import interface_bytes
from ...volumes.roots import OpenVolume
from .agent_sockets import INSIDE

__all__ = [
    "LEAST_CPU_CORES",
    "Container",
    "Labels",
    "disk_obstacle",
    "hostname",
    "on_this_host",
    "oom_kills_of_host",
    "refused_limits",
    "usage_of_engine",
    "usage_of_host",
]

LEAST_CPU_CORES: Final = 0.01
"""A quota of 1 ms in the engine's period of 100 ms: the kernel takes no less."""

# Without quotas of the file system below, the engine refuses a limit with overlay2.
_LIMITING_DRIVERS: Final = ("overlay2", "btrfs", "zfs", "devicemapper")


def hostname(sandbox_id: str) -> str:
    """Return the host name of a sandbox: at most 63 bytes of its ID."""
    return sandbox_id[:63]


class Labels:
    """Names of the labels of containers and snapshots' images."""

    OWNER: Final = "flash-sandbox.owner"
    RUNTIME: Final = "flash-sandbox.runtime"
    SANDBOX: Final = "flash-sandbox.sandbox"
    SNAPSHOT: Final = SNAPSHOT_LABEL


@dataclass(frozen=True, slots=True)
class Container:
    """What is asked of the engine for one sandbox.

    Attributes:
        sandbox_id: ID of the sandbox.
        image: Name or ID of the image.
        request: What the start asks for.
        limits: What it may use; there is no swap beyond the memory.
        agent: Path of the guest agent inside, and its arguments: the only program that the engine starts.
        directory: Directory of this host that is shown to the agent, read-only; None for an agent that has
            its standard input and output for a stream.
        network: The engine's name of the network; ``none`` for none.
        labels: Labels by name.
        oci_runtime: Name of the OCI runtime in the engine's list; empty for the engine's default.
        annotations: Annotations for that OCI runtime.
        volumes: What is mounted in it once it runs, without the engine.
    """

    sandbox_id: str
    image: str
    request: StartRequest
    limits: Limits
    agent: tuple[str, ...] = ()
    directory: Path | None = None
    network: str = "none"
    labels: Mapping[str, str] = field(default_factory=dict)
    oci_runtime: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[OpenVolume] = ()

    @property
    def name(self) -> str:
        """Name of the container."""
        return f"flash-sandbox-{self.sandbox_id}"

    @property
    def asked_limits(self) -> dict[str, object]:
        """The limits, as the engine names them."""
        disk_mb = self.request.disk_mb
        return {
            **({"StorageOpt": {"size": f"{disk_mb}m"}} if disk_mb else {}),
            "Memory": self.limits.memory_bytes,
            # Memory and swap together: nothing is swapped.
            "MemorySwap": self.limits.memory_bytes,
            "NanoCpus": round(self.limits.cpu_cores * 1e9),
            "PidsLimit": self.limits.pids,
            "ShmSize": (self.request.shm_mb or DEFAULT_SHM_MB) * MIB,
        }

    def body(self) -> dict[str, Any]:
        """Return the body of ``POST /containers/create``."""
        host: dict[str, Any] = {
            **self.asked_limits,
            "CapDrop": ["ALL"],
            "CapAdd": list(privileges.CAPABILITIES),
            "CgroupnsMode": "private",
            # The agent reaps.
            "Init": False,
            "IpcMode": "private",
            # What the agent sends would fill a log; what programs print goes to the orchestrator.
            "LogConfig": {"Type": "none"},
            "NetworkMode": self.network,
            "Privileged": False,
            "RestartPolicy": {"Name": "no"},
            # The engine's seccomp profile holds as long as nothing is said of it here.
            "SecurityOpt": ["no-new-privileges"],
        }
        if self.directory is not None:
            host["Mounts"] = [
                {"Type": "bind", "Source": str(self.directory), "Target": INSIDE, "ReadOnly": True}
            ]
        if self.network == "none":
            # Else the engine writes down those of its host, which tells of that and reaches nobody.
            host |= {"Dns": ["127.0.0.1"], "DnsSearch": ["."]}
        if self.oci_runtime:
            host["Runtime"] = self.oci_runtime
        if self.annotations:
            host["Annotations"] = dict(self.annotations)
        return {
            "Hostname": hostname(self.sandbox_id),
            "Image": self.image,
            # The image's own command is not appended to an entry point.
            "Entrypoint": list(self.agent),
            # Numbers, and so also where the image knows no users.
            "User": "0:0",
            # An image's health check would be a program that the engine starts.
            "Healthcheck": {"Test": ["NONE"]},
            "OpenStdin": self.directory is None,
            "Labels": dict(self.labels),
            "HostConfig": host,
        }


def refused_limits(asked: Container, inspected: Mapping[str, Any]) -> list[str]:
    """Return the limits that the engine has not granted, as ``NAME is X, not Y``.

    Args:
        asked: What was asked for.
        inspected: The engine's answer to ``GET /containers/ID/json``.
    """
    granted = inspected.get("HostConfig") or {}
    return [
        f"{name} is {granted.get(name)}, not {value}"
        for name, value in asked.asked_limits.items()
        if granted.get(name) != value
    ]


def disk_obstacle(info: Mapping[str, Any]) -> str:
    """Return why an engine limits no container's disk; empty where it does, or refuses that itself.

    Args:
        info: The engine's answer to ``GET /info``.
    """
    driver, status = str(info.get("Driver") or ""), dict(info.get("DriverStatus") or ())
    if "driver-type" in status:
        return f"its images are in containerd's snapshotter {driver}, which knows no limit"
    if driver not in _LIMITING_DRIVERS:
        return f"its storage driver {driver} knows no limit"
    return ""


def on_this_host(container_id: str, pid: int) -> bool:
    """Tell whether a process of this host is one of the container, so that others of it can be looked at.

    It is not where the engine runs on another machine or in another PID namespace, or where the OCI runtime
    boots a virtual machine.
    """
    try:
        return pid > 0 and container_id in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def usage_of_host(container_id: str, init: int) -> Usage | None:
    """Read the cgroup's files, where the container's processes are this host's; else return None.

    An engine before 23.0 answers with what it read up to a second ago, or waits for as long.
    """
    if not on_this_host(container_id, init):
        return None
    try:
        received, sent = interface_bytes(init)
        return replace(usage_of_process(init), net_rx_bytes=received, net_tx_bytes=sent)
    except (OSError, ValueError):
        return None


def oom_kills_of_host(container_id: str, init: int) -> int | None:
    """Read how many processes the kernel has ended for want of memory; None where that is not this host's."""
    return group_of_process(init).oom_kills() if on_this_host(container_id, init) else None


def usage_of_engine(stats: Mapping[str, Any]) -> Usage:
    """Return the figures of an answer to ``GET /containers/ID/stats``."""
    memory = stats.get("memory_stats") or {}
    detail = memory.get("stats") or {}
    # The first name is cgroup v1's, the second v2's.
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    networks = (stats.get("networks") or {}).values()
    blocks = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()

    def block_bytes(operation: str) -> int:
        return sum(entry.get("value", 0) for entry in blocks if entry.get("op", "").lower() == operation)

    return Usage(
        memory_bytes=max(memory.get("usage", 0) - cache, 0),
        memory_limit_bytes=memory.get("limit", 0),
        cpu_seconds=((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage", 0) / 1e9,
        pids=(stats.get("pids_stats") or {}).get("current", 0),
        block_read_bytes=block_bytes("read"),
        block_write_bytes=block_bytes("write"),
        net_rx_bytes=sum(network.get("rx_bytes", 0) for network in networks),
        net_tx_bytes=sum(network.get("tx_bytes", 0) for network in networks),
    )
