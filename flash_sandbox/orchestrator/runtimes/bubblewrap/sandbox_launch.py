"""The steps of ``agent --launch`` from the launcher to bwrap; ``guest/launch.c`` does them."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...linux.id_range import IdRange
from . import bwrap

__all__ = ["Mounts", "launch_steps"]


@dataclass(frozen=True, slots=True)
class Mounts:
    """What a sandbox is made of, put where its root can reach it and nobody else can change it.

    Attributes:
        base: Directory that it is mounted below.
        binds: Directories, by the name that each has there.
        sources: Real paths of what `lowers` are there: of the image, and of layers over it.
        owners_are_mapped: Whether the owners of those on disk are users of the sandbox: 0 is its root.
        image_is_shared: Whether others may put something else in the place of the image.
        disk: The step that mounts what the writable layer lies on; none where that is in `binds`.
        volumes: Whom the owners of each volume are, open as `bwrap.VOLUME_FD` and following; empty for as
            they are.
    """

    base: str
    binds: Mapping[str, str]
    sources: Sequence[str]
    owners_are_mapped: bool
    image_is_shared: bool
    volumes: Sequence[str] = ()
    disk: Sequence[str] = ()

    @property
    def lowers(self) -> list[str]:
        """Where the image is, and the layers over it, the lowest first."""
        return [f"{self.base}/lower{number}" for number in range(len(self.sources))]

    def volume(self, number: int) -> str:
        """Where a volume is."""
        return f"{self.base}/volume{number}"


def launch_steps(
    arguments: Sequence[str],
    *,
    ids: IdRange | None,
    enters: bool,
    mounts: Mounts | None,
    join_files: Iterable[str],
    rlimits: Mapping[int, tuple[int, int]],
    cpus: Iterable[int],
) -> list[str]:
    """Return the steps of a process that becomes bwrap.

    Args:
        arguments: Command line of bwrap.
        ids: The IDs of its users; None for this process's own user alone.
        enters: Whether these are IDs in the user namespace that is open as `bwrap.NAMESPACE_FD`.
        mounts: What it is made of; None where that can be used as it is.
        join_files: Files of cgroups that the process is written to.
        rlimits: Resource limits, soft and hard.
        cpus: CPUs that it may run on; none for all.
    """
    steps: list[str] = []
    # First: the user namespace is held to the limits of the process that makes it.
    for number, limits in rlimits.items():
        steps += ["limit", str(number), *map(_limit, limits)]
    if enters:
        steps += ["enter", str(bwrap.NAMESPACE_FD)]
    if ids is not None:
        steps += ["ids", str(ids.base), str(ids.count), str(bwrap.IDS_FD)]
    for file in join_files:
        steps += ["join", file]
    if mounts is not None:
        steps += [] if ids is not None else ["own-ids"]
        steps += ["base", mounts.base]
        for name, source in mounts.binds.items():
            steps += ["bind", source, f"{mounts.base}/{name}"]
        steps += mounts.disk
        id_map = str(bwrap.IDS_FD) if mounts.owners_are_mapped else ""
        for number, (source, lower) in enumerate(zip(mounts.sources, mounts.lowers, strict=True)):
            shared = mounts.image_is_shared and not number
            steps += ["shared-image" if shared else "image", source, lower, id_map]
        for number, owners in enumerate(mounts.volumes):
            steps += ["volume", str(bwrap.VOLUME_FD + number), mounts.volume(number), owners]
    if ids is not None:
        steps += ["user", str(ids.base)]
    for cpu in cpus:
        steps += ["cpu", str(cpu)]
    return [*steps, "exec", *arguments]


def _limit(value: int) -> str:
    return "" if value == resource.RLIM_INFINITY else str(value)
