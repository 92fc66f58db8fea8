"""What one sandbox has used in the last hour: numbers in one block of memory."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Final

from ...models import MAX_HISTORY_POINTS, MetricsPoint
from ..linux.limits import Usage

__all__ = ["KEPT_SECONDS", "SAMPLE_SECONDS", "History", "percent_of"]

KEPT_SECONDS: Final = 3600.0
SAMPLE_SECONDS: Final = KEPT_SECONDS / MAX_HISTORY_POINTS
"""How often a sandbox is sampled at most: so an hour has as many samples as one answer has points."""

_NUMBERS: Final = 11


class History:
    """The samples of one sandbox, at most `MAX_HISTORY_POINTS`, none older than `KEPT_SECONDS`.

    Attributes:
        sampled_at: When it was sampled last, in seconds of `time.monotonic`.
        watched_until: Until when it is sampled as often as may be, in the same.
    """

    __slots__ = ("_samples", "sampled_at", "watched_until")

    def __init__(self) -> None:
        self.sampled_at = -math.inf
        self.watched_until = 0.0
        # A double holds whole numbers up to 2**53: more bytes than any counter has seen.
        self._samples = array("d")

    def add(self, at_ms: int, usage: Usage) -> None:
        """Add a sample that was taken at `at_ms`, in milliseconds of Unix time."""
        samples = self._samples
        samples.extend(
            (
                at_ms,
                usage.memory_bytes,
                usage.memory_limit_bytes,
                usage.cpu_seconds,
                usage.pids,
                usage.block_read_bytes,
                usage.block_write_bytes,
                usage.net_rx_bytes,
                usage.net_tx_bytes,
                usage.disk_used_bytes,
                usage.disk_limit_bytes,
            )
        )
        first = max(len(samples) - MAX_HISTORY_POINTS * _NUMBERS, 0)
        while samples[first] < at_ms - KEPT_SECONDS * 1000:
            first += _NUMBERS
        del samples[:first]

    def last(self) -> Usage | None:
        """Return the last sample; None where there is none."""
        count = len(self._samples) // _NUMBERS
        return self._sample(count - 1)[1] if count else None

    def points(self, since_ms: int = 0, most: int = 0) -> list[MetricsPoint]:
        """Return the samples after `since_ms`; `most` of them at most, evenly chosen, where that is not 0."""
        count = len(self._samples) // _NUMBERS
        first = next((place for place in range(count) if self._samples[place * _NUMBERS] > since_ms), count)
        chosen: Sequence[int] = range(first, count)
        if 0 < most < len(chosen):
            chosen = [first + (number + 1) * len(chosen) // most - 1 for number in range(most)]
        # The first point, too, has a sample before it, unless it is the first one that is kept.
        before = [chosen[0] - 1, *chosen] if chosen else []
        return [self._point(*places) for places in zip(chosen, before, strict=False)]

    def _point(self, place: int, before: int) -> MetricsPoint:
        at_ms, usage = self._sample(place)
        cpu_percent = 0.0
        if before >= 0:
            then_ms, used = self._sample(before)
            cpu_percent = percent_of(usage.cpu_seconds - used.cpu_seconds, (at_ms - then_ms) / 1000)
        return MetricsPoint(
            memory_usage_bytes=usage.memory_bytes,
            memory_limit_bytes=usage.memory_limit_bytes,
            memory_percent=percent_of(usage.memory_bytes, usage.memory_limit_bytes),
            cpu_percent=cpu_percent,
            pids_current=usage.pids,
            net_rx_bytes=usage.net_rx_bytes,
            net_tx_bytes=usage.net_tx_bytes,
            block_read_bytes=usage.block_read_bytes,
            block_write_bytes=usage.block_write_bytes,
            disk_used_bytes=usage.disk_used_bytes,
            disk_limit_bytes=usage.disk_limit_bytes,
            at=at_ms / 1000,
        )

    def _sample(self, place: int) -> tuple[float, Usage]:
        sample = self._samples[place * _NUMBERS : (place + 1) * _NUMBERS]
        at_ms, memory, limit, cpu_seconds, *counts = sample
        return at_ms, Usage(int(memory), int(limit), cpu_seconds, *map(int, counts))


def percent_of(part: float, whole: float) -> float:
    """Return what part of the whole that is, in percent; 0 where there is no whole."""
    return 100 * max(part, 0.0) / whole if whole > 0 else 0.0
