"""What is written in one turn of the event loop is sent as one, and nothing is kept for longer."""

from __future__ import annotations

import asyncio

from flash_sandbox.orchestrator.doors.write_coalescing import Corked


class Sink(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.sent.append(b"closed")

    def is_closing(self) -> bool:
        return b"closed" in self.sent


async def test_pieces_of_one_turn_are_sent_together() -> None:
    sink = Sink()
    corked = Corked(sink)
    corked.write(b"head ")
    corked.write(b"body")
    assert sink.sent == []
    await asyncio.sleep(0)
    corked.write(b"next")
    await asyncio.sleep(0)
    assert sink.sent == [b"head body", b"next"]


async def test_much_is_sent_at_once() -> None:
    sink = Sink()
    Corked(sink).write(bytes(64 * 1024))
    assert len(sink.sent) == 1


async def test_nothing_is_sent_once_it_is_closed() -> None:
    sink = Sink()
    corked = Corked(sink)
    corked.write(b"late")
    sink.close()
    await asyncio.sleep(0)
    assert sink.sent == [b"closed"]


async def test_closing_sends_what_is_left() -> None:
    sink = Sink()
    corked = Corked(sink)
    corked.write(b"last")
    corked.close()
    await asyncio.sleep(0)
    assert sink.sent == [b"last", b"closed"]
