"""The firecracker runtime: containers of Docker Engine whose OCI runtime boots a Firecracker microVM.

That is Kata Containers with its Firecracker configuration, registered with the engine under a name that is
looked up in the engine's own list. Kernel and initial RAM disk are passed as Kata's annotations:
https://github.com/kata-containers/kata-containers/blob/main/docs/how-to/how-to-set-sandbox-config-kata.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ...errors import InvalidArgumentError, UnsupportedError
from ...models import StartRequest
from ..docker_engine.api import Engine, EngineMissing, EngineVersion
from ..docker_engine.containers import Container
from ..docker_engine.pull import Event
from ..images.store import DEFAULT_REGISTRIES
from .docker import DockerRuntime, unwritten

__all__ = ["KATA_NAMES", "FirecrackerRuntime"]

KATA_NAMES: Final = ("kata-fc", "io.containerd.kata-fc.v2")
"""The names under which Kata Containers registers its Firecracker configuration."""

_ANNOTATIONS: Final = {
    "kernel_image": "io.katacontainers.config.hypervisor.kernel",
    "initrd_path": "io.katacontainers.config.hypervisor.initrd",
}
# Docker Engine 24. An older one would drop annotations without a word.
_ANNOTATING: Final = EngineVersion(1, 43)


class FirecrackerRuntime(DockerRuntime):
    """Runs sandboxes as microVMs.

    Args:
        state_dir: Directory of the orchestrator's own.
        oci_runtime: Name of the OCI runtime in the engine's list; empty for one of `KATA_NAMES`.
        image_roots: Directories from which kernels and RAM disks are taken, besides ``state_dir/rootfs``.
        host: Where the engine is, as in ``$DOCKER_HOST``; None for what that says, or the usual socket.
        registries: Patterns of the registries whose images may be started; ``docker-daemon`` for every image
            of the engine's.
        event: Writes a line of the orchestrator's log.
    """

    name = "firecracker"
    shares_kernel = False

    def __init__(
        self,
        state_dir: Path,
        *,
        oci_runtime: str = "",
        image_roots: Sequence[Path] = (),
        host: str | None = None,
        registries: Sequence[str] = DEFAULT_REGISTRIES,
        event: Event = unwritten,
    ) -> None:
        super().__init__(state_dir, host=host, registries=registries, event=event)
        self._names = (oci_runtime,) if oci_runtime else KATA_NAMES
        self._roots = (state_dir / "rootfs", *image_roots)

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
            _ANNOTATIONS[option]: await asyncio.to_thread(self._allowed, option, path)
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

    def _allowed(self, option: str, path: str) -> str:
        """Return the file's real path, which must be in a directory that the operator named.

        The guest can read the whole file.
        """
        try:
            real = Path(path).resolve(strict=True)
        except (OSError, RuntimeError):
            real = None
        if (
            real is None
            or not real.is_file()
            or not any(real.is_relative_to(r.resolve()) for r in self._roots)
        ):
            allowed = ", ".join(map(str, self._roots))
            raise InvalidArgumentError(
                f"{option} {path!r} is no file in a directory that this orchestrator takes images from "
                f"({allowed})"
            )
        return str(real)
