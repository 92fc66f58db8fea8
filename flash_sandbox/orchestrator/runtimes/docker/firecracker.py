"""The firecracker runtime: containers of Docker Engine whose OCI runtime boots a Firecracker microVM.

That is Kata Containers with its Firecracker configuration, registered with the engine under a name that is
looked up in the engine's own list. Kernel and initial RAM disk are passed as Kata's annotations:
https://github.com/kata-containers/kata-containers/blob/main/docs/how-to/how-to-set-sandbox-config-kata.md
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

from ....errors import InvalidArgumentError, UnsupportedError
from ....models import StartRequest
from ...images.store import DEFAULT_REGISTRIES
from ...linux.beneath import open_without_links
from ...network.egress import INTERNET, Egress
from ...snapshots.store import Snapshots
from ..base import unwritten
from .api import Engine, EngineMissing, EngineVersion
from .containers import Container
from .pull import Event
from .runtime import DockerRuntime

__all__ = ["KATA_NAMES", "FirecrackerRuntime"]

KATA_NAMES: Final = ("kata-fc", "io.containerd.kata-fc.v2")
"""The names under which Kata Containers registers its Firecracker configuration."""

_ANNOTATIONS: Final = {
    "kernel_image": "io.katacontainers.config.hypervisor.kernel",
    "initrd_path": "io.katacontainers.config.hypervisor.initrd",
}
# Docker Engine 24. An older one would drop annotations without a word.
_ANNOTATING: Final = EngineVersion(1, 43)
_BLOCK: Final = 1024 * 1024
_MOST_BYTES: Final = 1024**3
# A machine that boots takes no longer to open its files.
_KEPT_SECONDS: Final = 600


class FirecrackerRuntime(DockerRuntime):
    """Runs sandboxes as microVMs.

    Args:
        state_dir: Directory of the orchestrator's own.
        oci_runtime: Name of the OCI runtime in the engine's list; empty for one of `KATA_NAMES`.
        image_roots: Directories from which kernels and RAM disks are taken, besides ``state_dir/rootfs``.
        host: Where the engine is, as in ``$DOCKER_HOST``; None for what that says, or the usual socket.
        registries: Patterns of the registries whose images may be started; ``docker-daemon`` for every image
            of the engine's.
        egress: What sandboxes with a network may reach.
        snapshots: Where snapshots are, shared with other runtimes; None for one of its own.
        event: Writes a line of the orchestrator's log.
    """

    name = "firecracker"
    capabilities = replace(
        DockerRuntime.capabilities,
        options=DockerRuntime.capabilities.options - {"volumes", "disk_mb"} | {"kernel_image", "initrd_path"},
        own_kernel=True,
    )
    shares_kernel = False

    def __init__(
        self,
        state_dir: Path,
        *,
        oci_runtime: str = "",
        image_roots: Sequence[Path] = (),
        host: str | None = None,
        registries: Sequence[str] = DEFAULT_REGISTRIES,
        egress: Egress = INTERNET,
        snapshots: Snapshots | None = None,
        event: Event = unwritten,
    ) -> None:
        super().__init__(
            state_dir, host=host, registries=registries, egress=egress, snapshots=snapshots, event=event
        )
        self._names = (oci_runtime,) if oci_runtime else KATA_NAMES
        self._roots = (state_dir / "rootfs", *image_roots)
        self._boot = state_dir / "boot"

    async def _describe(self, engine: Engine, info: Mapping[str, Any]) -> str:
        return f"the runtime {self._chosen(info)} of {await super()._describe(engine, info)}"

    async def _refine(self, container: Container, request: StartRequest) -> Container:
        oci_runtime = self._chosen(await self._engine.call("GET", "/info"))
        asked = {option: getattr(request, option) for option in _ANNOTATIONS if getattr(request, option)}
        if asked and (version := await self._engine.version()) < _ANNOTATING:
            raise UnsupportedError(
                f"{' and '.join(asked)} are passed on as annotations, which Docker Engine takes from API "
                f"{_ANNOTATING} on (Docker Engine 24); this one speaks {version}"
            )
        annotations = {
            _ANNOTATIONS[option]: await asyncio.to_thread(self._copied, option, path)
            for option, path in asked.items()
        }
        return replace(container, oci_runtime=oci_runtime, annotations=annotations)

    def _chosen(self, info: Mapping[str, Any]) -> str:
        """Return the OCI runtime that boots Firecracker; raise `EngineMissing` where none is listed."""
        known = info.get("Runtimes") or {}
        for name in self._names:
            if name in known:
                return name
        listed = ", ".join(sorted(known)) or "none"
        raise EngineMissing(
            f"Docker Engine at {self._engine.host} has no OCI runtime {' or '.join(self._names)} "
            f"that boots Firecracker (it lists {listed})",
            "install Kata Containers and register kata-fc in /etc/docker/daemon.json; it needs /dev/kvm",
        )

    def _copied(self, option: str, path: str) -> str:
        """Return a copy of a file, which must be in a directory that the operator named.

        A copy, because Kata opens it by its name, and somebody may exchange it meanwhile. The guest can read
        the whole file.
        """
        try:
            real = Path(path).resolve(strict=True)
            if not any(real.is_relative_to(root.resolve()) for root in self._roots):
                raise FileNotFoundError
            descriptor = open_without_links(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except (OSError, RuntimeError, ValueError):
            raise self._refusal(option, path) from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise self._refusal(option, path)
        with os.fdopen(descriptor, "rb") as file:
            if status.st_size > _MOST_BYTES:
                raise InvalidArgumentError(f"{option} {path!r} is larger than {_MOST_BYTES} bytes")
            return str(_copy(file, self._boot))

    def _refusal(self, option: str, path: str) -> InvalidArgumentError:
        allowed = ", ".join(map(str, self._roots))
        return InvalidArgumentError(
            f"{option} {path!r} is no file in a directory that this orchestrator takes images from "
            f"({allowed})"
        )


def _copy(file: IO[bytes], directory: Path) -> Path:
    """Copy a file into a directory, under its digest, and remove what no start has used for long."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in directory.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                old.unlink()
    digest, left = hashlib.sha256(), _MOST_BYTES
    descriptor, name = tempfile.mkstemp(dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as copy:
            while block := file.read(min(left, _BLOCK)):
                digest.update(block)
                copy.write(block)
                left -= len(block)
        target = directory / digest.hexdigest()
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    return target
