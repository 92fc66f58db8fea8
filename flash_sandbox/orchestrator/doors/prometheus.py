"""What Prometheus may ask for: calls by operation and transport, and sandboxes by state and runtime."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ...operations import OPERATIONS
from ..core.sandboxes import Registry, State
from ..core.warm import WarmPool
from ..version import installed_version
from .call import Call

__all__ = ["CONTENT_TYPE", "Measures"]

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4.encode()

_OPERATIONS: Final = frozenset(operation.name for operation in OPERATIONS)
_SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)


class Measures:
    """The figures of one orchestrator.

    Args:
        registry: Its sandboxes.
        pools: Its pools of sandboxes that wait for starts.
    """

    def __init__(self, registry: Registry, pools: Sequence[WarmPool] = ()) -> None:
        self._figures = CollectorRegistry()
        # Of the process: its CPU time, memory, descriptors.
        ProcessCollector(registry=self._figures)
        PlatformCollector(registry=self._figures)
        self._figures.register(_Sandboxes(registry))
        self._figures.register(_Warm(pools))
        self._durations = Histogram(
            "flash_sandbox_call_duration_seconds",
            "How long calls took, to the last piece of a streamed answer.",
            ("operation", "transport"),
            buckets=_SECONDS,
            registry=self._figures,
        )
        self._failures = Counter(
            "flash_sandbox_call_failures",
            "Calls that were answered with an error, by its reason.",
            ("operation", "transport", "reason"),
            registry=self._figures,
        )
        # Looking a child up by its labels would take as long as all else.
        self._observers: dict[tuple[str, str], Callable[[float], None]] = {}

    def count(self, call: Call, reason: str = "") -> None:
        """Count a call that has ended; `reason` is that of its error, empty where there was none."""
        key = (call.operation, call.transport)
        observe = self._observers.get(key) or self._observer(key)
        observe(time.perf_counter() - call.started)
        if reason:
            self._failures.labels(_known(call.operation), call.transport, reason).inc()

    def _observer(self, key: tuple[str, str]) -> Callable[[float], None]:
        operation, transport = key
        known = _known(operation)
        observe = self._durations.labels(known, transport).observe
        if known == operation:
            self._observers[key] = observe
        return observe

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._figures)


def _known(operation: str) -> str:
    # Paths and methods that are none come from callers, who could make any number of them.
    return operation if operation in _OPERATIONS else "other"


class _Sandboxes(Collector):
    """Counts sandboxes when it is asked, so that what they do costs nothing."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        counts = Counts((sandbox.state, sandbox.runtime.name) for sandbox in self._registry)
        runtimes = {runtime for _, runtime in counts}
        sandboxes = GaugeMetricFamily(
            "flash_sandbox_sandboxes", "Sandboxes that there are.", labels=("state", "runtime")
        )
        for runtime in sorted(runtimes):
            for state in State:
                sandboxes.add_metric((state, runtime), counts[state, runtime])
        yield sandboxes
        yield from self._disks(runtimes)
        info = GaugeMetricFamily("flash_sandbox_info", "Always 1.", labels=("version",))
        info.add_metric((installed_version(),), 1)
        yield info

    def _disks(self, runtimes: set[str]) -> Iterable[Metric]:
        """Sum up what was sampled last of the sandboxes whose disk is limited."""
        used = GaugeMetricFamily(
            "flash_sandbox_disk_used_bytes",
            "Bytes written by sandboxes whose disk is limited, as sampled last.",
            labels=("runtime",),
        )
        limit = GaugeMetricFamily(
            "flash_sandbox_disk_limit_bytes", "Bytes that these may have written.", labels=("runtime",)
        )
        samples = [(one.runtime.name, one.history.last()) for one in self._registry if one.request.disk_mb]
        for runtime in sorted(runtimes):
            of_runtime = [sample for name, sample in samples if name == runtime and sample is not None]
            used.add_metric((runtime,), sum(sample.disk_used_bytes for sample in of_runtime))
            limit.add_metric((runtime,), sum(sample.disk_limit_bytes for sample in of_runtime))
        return (used, limit)


class _Warm(Collector):
    """Counts the sandboxes that were made beforehand, and the starts that asked for such a one."""

    def __init__(self, pools: Sequence[WarmPool]) -> None:
        self._pools = pools

    def collect(self) -> Iterable[Metric]:
        labels = ("runtime", "image")
        ready = GaugeMetricFamily(
            "flash_sandbox_warm_ready", "Sandboxes that wait for starts.", labels=labels
        )
        wanted = GaugeMetricFamily("flash_sandbox_warm_wanted", "Those that there are to be.", labels=labels)
        starts = CounterMetricFamily(
            "flash_sandbox_warm_starts",
            "Starts that suit a warm pool, by whether they were handed a sandbox: hit or miss.",
            labels=(*labels, "outcome"),
        )
        for pool in self._pools:
            name = (pool.type, pool.image)
            ready.add_metric(name, len(pool.ready))
            wanted.add_metric(name, pool.size)
            for outcome in ("hit", "miss"):
                starts.add_metric((*name, outcome), pool.starts[outcome])
        yield from (ready, wanted, starts)
