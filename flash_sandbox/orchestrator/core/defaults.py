"""What holds for a start where it says nothing: the snapshot's, or the default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from ...models import (
    DEFAULT_CPU_CORES,
    DEFAULT_MEMORY_MB,
    DEFAULT_PIDS,
    DEFAULT_SHM_MB,
    NetworkMode,
    StartRequest,
)
from ...models.volumes import merged

__all__ = ["filled_in"]

_DEFAULTS: Final[dict[str, float]] = {
    "memory_mb": DEFAULT_MEMORY_MB,
    "cpu_cores": DEFAULT_CPU_CORES,
    "pids": DEFAULT_PIDS,
    "shm_mb": DEFAULT_SHM_MB,
}
# What every runtime limits.
_ALWAYS: Final = frozenset({"memory_mb", "cpu_cores"})
_INHERITED: Final = (*_DEFAULTS, "disk_mb", "network", "ttl_seconds", "user")


def filled_in(
    request: StartRequest,
    options: frozenset[str],
    default_network: NetworkMode,
    origin: StartRequest | None = None,
) -> StartRequest:
    """Return a start with what holds where it says nothing. Idempotent.

    Args:
        request: The start.
        options: What else than memory and CPU the runtime limits: ``pids``, ``shm_mb``.
        default_network: The operator's.
        origin: What the sandbox was started with that the snapshot was made of; None for no snapshot.
    """
    if origin is not None:
        inherited = {name: getattr(request, name) or getattr(origin, name) for name in _INHERITED}
        if not request.network:
            inherited |= {"network_allow": origin.network_allow, "network_deny": origin.network_deny}
        env, volumes = _joined(origin.env, request.env), merged(origin.volumes, request.volumes)
        request = replace(request, **inherited, env=env, volumes=volumes)
    limits: dict[str, Any] = {
        name: getattr(request, name) or default
        for name, default in _DEFAULTS.items()
        if name in options | _ALWAYS
    }
    network = "bridge" if request.network == "open" else request.network or default_network
    return replace(request, network=network, **limits)


def _joined(variables: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Return variables, of which those of `more` hold where both have one of the same name."""
    by_name = {variable.partition("=")[0]: variable for variable in (*variables, *more)}
    return tuple(by_name.values())
