"""System calls written down for `stepper`: what a process does before it becomes another program."""

from __future__ import annotations

import itertools
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from . import syscalls
from .elf import DATA_ADDRESS
from .stepper import MOST_BYTES, STEP_WORDS

__all__ = ["Argument", "Failure", "Memory", "Step", "Steps"]

# What nothing in a sandbox may call: on x86_64 and on AArch64, as in `syscalls`.
_MORE: Final = {
    "x86_64": {"mount": 165, "setns": 308, "unshare": 272},
    "aarch64": {"mount": 40, "setns": 268, "unshare": 97},
}
_MOUNTS: Final = {"mount_setattr": 442, "move_mount": 429, "open_tree": 428}

_STEP_BYTES: Final = STEP_WORDS * 8
_ARGUMENTS: Final = 6
_WORD: Final = 0xFFFFFFFFFFFFFFFF


def _encoded(text: str) -> bytes:
    # As os.fsencode does wherever text is UTF-8.
    return text.encode("utf-8", "surrogateescape")


@cache
def _numbers(machine: str) -> dict[str, int]:
    return syscalls.numbers(machine) | _MORE[machine] | _MOUNTS


@dataclass(slots=True, eq=False)
class Memory:
    """Bytes that a call is given the address of.

    Attributes:
        content: The bytes; or words, of which some may be addresses of other bytes.
        address: Where they are, once everything has a place.
    """

    content: bytes | Sequence[int | Memory]
    address: int = 0

    def size(self) -> int:
        """Return how many bytes they take, up to the next word."""
        if isinstance(self.content, bytes):
            return (len(self.content) + 7) & ~7
        return len(self.content) * 8

    def encoded(self) -> bytes:
        """Return them, once everything has a place."""
        if isinstance(self.content, bytes):
            return self.content.ljust(self.size(), b"\0")
        words = (word.address if isinstance(word, Memory) else word & _WORD for word in self.content)
        return struct.pack(f"={len(self.content)}Q", *words)


class _Addresses(Memory):
    """The addresses of texts, and a zero; the texts come right behind it, one after the other."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._starts = list(itertools.accumulate(sizes, initial=0))
        super().__init__(bytes(len(self._starts) * 8))

    def encoded(self) -> bytes:
        base = self.address + self.size()
        addresses = (base + start for start in self._starts[:-1])
        return struct.pack(f"={len(self._starts)}Q", *addresses, 0)


@dataclass(slots=True, eq=False)
class Step:
    """One call.

    Attributes:
        number: Its number.
        arguments: Its arguments, at most six. One that is a step is what that has returned.
        then: What comes next; None for the step that was added next.
        if_positive: What comes next where it returns more than zero; None for `then`.
        otherwise: What comes next where it fails; None for `then`.
        absent: What comes next where it says that something does not exist; None for `otherwise`.
        text: Where the text of an error is put: so many words from the beginning of something.
        result: Which argument of a step, or which word of something, is its result.
        address: Where it is, once everything has a place.
    """

    number: int
    arguments: tuple[Argument, ...]
    then: Step | None = None
    if_positive: Step | None = None
    otherwise: Step | None = None
    absent: Step | None = None
    text: tuple[Memory, int] | None = None
    result: tuple[Step | Memory, int] | None = None
    address: int = 0


Argument = int | Memory | Step


@dataclass(frozen=True, slots=True)
class Failure:
    """What is done where a call fails: it is told why, and the process ends.

    Attributes:
        otherwise: The first step of that.
        absent: The first step of it where something does not exist.
        text: Where the text of the error is put.
    """

    otherwise: Step
    absent: Step
    text: tuple[Memory, int]


@dataclass(slots=True)
class Steps:
    """Steps, one after the other, but for those that come after a failure.

    After the last comes what is laid out behind all of these: other steps, where there are any.

    Args:
        machine: ``x86_64`` or ``aarch64``; this machine's when absent.
        base: Where they are laid out.
    """

    machine: str = field(default_factory=platform.machine)
    base: int = DATA_ADDRESS
    _main: list[Step] = field(default_factory=list)
    _aside: list[Step] = field(default_factory=list)
    _memories: list[Memory] = field(default_factory=list)

    def add(self, call: str, *arguments: Argument, failure: Failure | None = None) -> Step:
        """Add a call by its name; where it fails, `failure` is done, or nothing where that is None.

        An argument that is a step is what that has returned. Each step's result can be used once.
        """
        step = self._made(call, arguments)
        if failure is not None:
            step.otherwise, step.absent, step.text = failure.otherwise, failure.absent, failure.text
        self._main.append(step)
        return step

    def add_aside(self, call: str, *arguments: Argument) -> Step:
        """Add a call that comes only after one that leads to it; the next one that is added so follows it."""
        step = self._made(call, arguments)
        self._aside.append(step)
        return step

    def memory(self, content: bytes | Sequence[int | Memory]) -> Memory:
        """Return what gives a call the address of these bytes, or words."""
        memory = Memory(content)
        self._memories.append(memory)
        return memory

    def text(self, text: str) -> Memory:
        """Return what gives a call a text, as C knows it."""
        return self.memory(_encoded(text) + b"\0")

    def texts(self, texts: Sequence[str]) -> Memory:
        """Return what gives a call texts, as execve(2) takes them."""
        encoded = [_encoded(text) + b"\0" for text in texts]
        addresses = _Addresses([len(each) for each in encoded])
        self._memories += [addresses, Memory(b"".join(encoded))]
        return addresses

    def failure(
        self, descriptor: int, before: str, after: str = "", *, status: int, absent_status: int | None = None
    ) -> Failure:
        """Return what writes to a descriptor why a call has failed, and ends the process.

        Args:
            descriptor: Where it is written to.
            before: What comes before the text of the error.
            after: What comes after it.
            status: Exit status of the process.
            absent_status: The same where something does not exist; None for `status`.
        """
        words: list[int | Memory] = []
        for part in (before, "", after):
            content = _encoded(part)
            words += [self.memory(content), len(content)]
        said = self.memory(words)
        otherwise = absent = self._telling(descriptor, said, status)
        if absent_status is not None:
            absent = self._telling(descriptor, said, absent_status)
        return Failure(otherwise, absent, (said, 2))

    def _telling(self, descriptor: int, said: Memory, status: int) -> Step:
        first = self.add_aside("writev", descriptor, said, 3)
        self.add_aside("exit_group", status)
        return first

    def encode(self) -> bytes:
        """Return all of it as `stepper` reads it."""
        steps = [*self._main, *self._aside]
        address = self.base
        for step in steps:
            step.address = address
            address += _STEP_BYTES
        # What nobody asks for is put here: results, and texts of errors.
        unread = address
        address += 16
        for memory in self._memories:
            memory.address = address
            address += memory.size()
        if self._main and self._main[-1].then is None:
            self._main[-1].then = Step(0, (), address=address)
        words: list[int] = []
        for step in steps:
            words += self._words(step, unread)
        encoded = struct.pack(f"={len(words)}Q", *words) + bytes(16)
        encoded += b"".join(memory.encoded() for memory in self._memories)
        if address - DATA_ADDRESS > MOST_BYTES:
            raise ValueError(f"the steps take {address - DATA_ADDRESS} bytes")
        return encoded

    def _made(self, call: str, arguments: tuple[Argument, ...]) -> Step:
        step = Step(_numbers(self.machine)[call], arguments)
        for index, argument in enumerate(arguments):
            if type(argument) is Step:
                assert argument.result is None
                argument.result = (step, index)
        return step

    @staticmethod
    def _words(step: Step, unread: int) -> tuple[int, ...]:
        words = [0] * _ARGUMENTS
        for index, argument in enumerate(step.arguments):
            if isinstance(argument, int):
                words[index] = argument & _WORD
            elif isinstance(argument, Memory):
                words[index] = argument.address
        then = step.address + _STEP_BYTES if step.then is None else step.then.address
        otherwise = then if step.otherwise is None else step.otherwise.address
        return (
            step.number,
            *words,
            unread if step.result is None else _place(*step.result),
            then if step.if_positive is None else step.if_positive.address,
            then,
            unread if step.text is None else _place(*step.text),
            otherwise,
            otherwise if step.absent is None else step.absent.address,
        )


def _place(owner: Step | Memory, index: int) -> int:
    """Return the address of a word of something, or of an argument of a step."""
    return owner.address + (index + 1 if type(owner) is Step else index) * 8
