"""A program as a file: machine code that the kernel loads at a fixed address (elf(5)).

Some programs are written down here as what they are, machine code with its listing, since no compiler can be
counted on where this is installed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["CODE_ADDRESS", "DATA_ADDRESS", "code_of", "executable", "install"]

Listing = Sequence[tuple[str, str]]

_START: Final = 0x400000
_CODE_OFFSET: Final = 0x100

CODE_ADDRESS: Final = _START + _CODE_OFFSET
"""Where the code of a program is, and begins."""

DATA_ADDRESS: Final = 0x10000000
"""Where the memory of a program is that it may write to."""

# e_machine; p_type and p_flags of a segment.
_MACHINES: Final = {"x86_64": 62, "aarch64": 183}
_LOAD: Final = 1
_GNU_STACK: Final = 0x6474E551
_READ_EXECUTE: Final = 5
_READ_WRITE: Final = 6
# As large as pages are anywhere.
_ALIGNMENT: Final = 0x10000


def executable(machine: str, code: bytes, *, data_bytes: int = 0) -> bytes:
    """Return a program as a file.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        code: What is at `CODE_ADDRESS`: code, and what it only reads.
        data_bytes: Size of the memory at `DATA_ADDRESS`, all zeros; 0 for none.
    """
    size = _CODE_OFFSET + len(code)
    segments = [_segment(_LOAD, _READ_EXECUTE, _START, size, size), _segment(_GNU_STACK, _READ_WRITE)]
    if data_bytes:
        segments.append(_segment(_LOAD, _READ_WRITE, DATA_ADDRESS, 0, data_bytes))
    identity = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    fields = (2, _MACHINES[machine], 1, CODE_ADDRESS, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    header = identity + struct.pack("<HHIQQQIHHHHHH", *fields) + b"".join(segments)
    return header.ljust(_CODE_OFFSET, b"\0") + code


def code_of(machine: str, *, x86_64: Listing, aarch64: Listing) -> bytes:
    """Return the code of a machine, of each instruction of which a listing has what it is and what it means.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        x86_64: The bytes of each instruction, in hexadecimal.
        aarch64: The word of each instruction, in hexadecimal.
    """
    if machine == "x86_64":
        return b"".join(bytes.fromhex(line) for line, _ in x86_64)
    return b"".join(struct.pack("<I", int(line, 16)) for line, _ in aarch64)


def install(path: Path, content: bytes) -> None:
    """Write a program to a file, unless it is there, that everybody may run."""
    if not path.exists() or path.read_bytes() != content:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    path.chmod(0o555)


def _segment(kind: int, flags: int, address: int = 0, file_bytes: int = 0, memory_bytes: int = 0) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, flags, 0, address, address, file_bytes, memory_bytes, _ALIGNMENT)
