"""What gVisor's main processes print: in a bounded place, and told by the next orchestrator, too."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from flash_sandbox.orchestrator.gvisor.output import MainOutput

KEPT = 64 * 1024


async def printed_by(output: MainOutput, descriptor: int, data: bytes) -> None:
    """Print, and return when all of it has been read."""
    before = total(output)
    await asyncio.to_thread(write_all, descriptor, data)
    async with asyncio.timeout(20):
        while total(output) < before + len(data):
            await asyncio.sleep(0.001)


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def total(output: MainOutput) -> int:
    found = output.printed()
    return len(found.output) + found.dropped


async def test_the_last_of_it_is_kept_the_rest_is_counted_and_the_place_is_bounded(tmp_path: Path) -> None:
    data = b"".join(b"line %d\n" % number for number in range(100_000))
    output = MainOutput(tmp_path)
    with output.write_end() as descriptor:
        output.follow()
        await printed_by(output, descriptor, data)
        found = output.printed()
    assert (found.output, found.dropped) == (data[-KEPT:], len(data) - KEPT)
    # Two files, each at most one piece longer than what is kept.
    assert sum(path.stat().st_size for path in tmp_path.glob("printed.*")) <= 4 * KEPT
    output.close()


async def test_the_next_orchestrator_tells_all_of_it(tmp_path: Path) -> None:
    first = MainOutput(tmp_path)
    with first.write_end() as descriptor:
        first.follow()
        await printed_by(first, descriptor, b"a" * 100_000)
        first.close()
        # Nobody reads, and nobody is held up.
        os.write(descriptor, b"between")
        second = MainOutput(tmp_path)
        second.follow()
        await printed_by(second, descriptor, b"after")
        found = second.printed()
        assert found.output == b"a" * (KEPT - 12) + b"betweenafter"
        assert found.dropped == 100_012 - KEPT
        second.close()


async def test_the_last_words_are_told_after_the_end(tmp_path: Path) -> None:
    output = MainOutput(tmp_path)
    with output.write_end() as descriptor:
        output.follow()
        os.write(descriptor, b"last words")
    for _ in range(2):
        assert output.printed().output == b"last words"
    output.close()


async def test_one_that_was_started_by_an_older_release_has_printed_nothing(tmp_path: Path) -> None:
    output = MainOutput(tmp_path)
    output.follow()
    assert (output.printed().output, output.printed().dropped) == (b"", 0)
    output.close()
