"""What models check when they are made: each function returns the value, or raises InvalidArgumentError."""

from __future__ import annotations

import math
import re
import signal as signals
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from ..errors import InvalidArgumentError
from .limits import MAX_MESSAGE_BYTES, MAX_PATH_BYTES
from .volumes import volumes

__all__ = [
    "INT32",
    "INT64",
    "MAX_ARGUMENT_BYTES",
    "MAX_COMMAND_BYTES",
    "UINT32",
    "UINT64",
    "above",
    "argument",
    "between",
    "boolean",
    "command_line",
    "content",
    "filled",
    "integer",
    "milliseconds",
    "network_rules",
    "number",
    "optional_directory",
    "optional_name",
    "path_in_sandbox",
    "program",
    "refuse",
    "sandbox_id",
    "secrets",
    "signal_number",
    "text",
    "texts",
    "variables",
    "volumes",
    "word",
]

# 128 KiB is the longest single argument that Linux takes (MAX_ARG_STRLEN, execve(2)), NUL included.
MAX_ARGUMENT_BYTES: Final = 128 * 1024 - 1
# Half of what the least stack limit leaves for all arguments together (ARG_MAX, execve(2)).
MAX_COMMAND_BYTES: Final = 1024 * 1024

INT32: Final = (-(2**31), 2**31 - 1)
INT64: Final = (-(2**63), 2**63 - 1)
UINT32: Final = (0, 2**32 - 1)
UINT64: Final = (0, 2**64 - 1)

_SHELL: Final = ("/bin/sh", "-c")
_LAST_SIGNAL: Final = 64
_MOST_RULES: Final = 1000
_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


def refuse(detail: str) -> InvalidArgumentError:
    """Return the error that refuses a value."""
    return InvalidArgumentError(detail)


def text(name: str, value: object) -> str:
    """Check a text, which UTF-8 must be able to carry."""
    if not isinstance(value, str):
        raise refuse(f"{name} must be a str, not {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise refuse(f"{name} holds a lone surrogate, which UTF-8 cannot carry") from None
    return value


def argument(name: str, value: object) -> str:
    """Check a text that is handed to the kernel."""
    checked = text(name, value)
    if "\0" in checked:
        raise refuse(f"{name} holds a NUL character")
    return checked


def filled(name: str, value: object, most: int) -> str:
    """Check an argument that must not be empty, of so many bytes at most."""
    checked = argument(name, value)
    if not checked:
        raise refuse(f"{name} must not be empty")
    if len(checked.encode()) > most:
        raise refuse(f"{name} is longer than {most} bytes")
    return checked


def word(name: str, value: object, known: Sequence[str]) -> str:
    """Check a text that may be empty or one of those that are known."""
    checked = argument(name, value)
    if checked not in ("", *known):
        raise refuse(f"{name} must be {' or '.join(known)}, not {checked[:100]!r}")
    return checked


def path_in_sandbox(name: str, value: object) -> str:
    """Return an absolute path in a sandbox; raise InvalidArgumentError for what is none."""
    path = argument(name, value)
    if not path.startswith("/"):
        raise refuse(f"{name} must be an absolute path, not {path[:200]!r}")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise refuse(f"{name} is longer than {MAX_PATH_BYTES} bytes")
    return path


def optional_directory(name: str, value: object) -> str:
    """Check an absolute path of any length, or nothing."""
    path = argument(name, value)
    if path and not path.startswith("/"):
        raise refuse(f"{name} must be an absolute path, not {path[:200]!r}")
    return path


def texts(name: str, value: object) -> tuple[str, ...]:
    """Check a sequence of texts, and make it a tuple."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise refuse(f"{name} must be a sequence of str, not {type(value).__name__}")
    return tuple(text(f"{name}[{index}]", item) for index, item in enumerate(value))


def content(name: str, value: object, limit: int | None = MAX_MESSAGE_BYTES) -> bytes:
    """Check bytes, or a text, which becomes UTF-8."""
    data = text(name, value).encode() if isinstance(value, str) else value
    if isinstance(data, bytearray | memoryview):
        data = bytes(data)
    if not isinstance(data, bytes):
        raise refuse(f"{name} must be bytes or str, not {type(value).__name__}")
    if limit is not None and len(data) > limit:
        raise refuse(f"{name} has {len(data)} bytes; one message carries {limit} at most")
    return data


def boolean(name: str, value: object) -> bool:
    """Check a truth value."""
    if not isinstance(value, bool):
        raise refuse(f"{name} must be a bool, not {type(value).__name__}")
    return value


def sandbox_id(value: object, what: str = "sandbox ID") -> str:
    """Check the ID of a sandbox, or of another thing that is named in a path."""
    checked = text(what, value)
    if not _ID_PATTERN.fullmatch(checked):
        raise refuse(
            f"{what} {checked[:140]!r} must be 1 to 128 letters, digits, '_', '-' or '.', "
            "the first one a letter or a digit"
        )
    return checked


def optional_name(name: str, value: object) -> str:
    """Check a name of the same form as an ID, or nothing."""
    return sandbox_id(value, name) if value else text(name, value)


def integer(name: str, value: object, bounds: tuple[int, int], least: int = 0) -> int:
    """Check an integer, whose least and greatest values are `bounds`; below `least` there is only 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(f"{name} must be an int, not {type(value).__name__}")
    low, high = bounds
    if not low <= value <= high:
        raise refuse(f"{name} must be {low} to {high}, not {value}")
    if 0 < value < least:
        raise refuse(f"{name} must be {least} to {high}, or 0 for the default, not {value}")
    return value


def number(name: str, value: object) -> float:
    """Check a finite number, and make it a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse(f"{name} must be a number, not {type(value).__name__}")
    try:
        checked = float(value)
    except OverflowError:
        raise refuse(f"{name} is out of range") from None
    if not math.isfinite(checked):
        raise refuse(f"{name} must be finite, not {checked}")
    # The wire of gRPC does not tell -0.0 from 0.0.
    return checked + 0.0


def between(name: str, value: object, low: float, high: float) -> float:
    """Check a number from `low` to `high`."""
    checked = number(name, value)
    if not low <= checked <= high:
        raise refuse(f"{name} must be {low:.15g} to {high:.15g}, not {checked}")
    return checked


def above(name: str, value: object, low: float, high: float) -> float:
    """Check a number above `low`, at most `high`."""
    checked = number(name, value)
    if not low < checked <= high:
        raise refuse(f"{name} must be above {low:.15g} and at most {high:.15g}, not {checked}")
    return checked


def signal_number(value: object, name: str = "signal") -> int:
    """Return the number of a signal that is named (``TERM``, ``SIGTERM``) or numbered."""
    if isinstance(value, str):
        known = value.upper()
        try:
            return signals.Signals[known if known.startswith("SIG") else f"SIG{known}"]
        except KeyError:
            raise refuse(f"there is no signal {value[:100]!r}") from None
    return integer(name, value, (1, _LAST_SIGNAL))


def milliseconds(name: str, seconds: object) -> int:
    """Check a time in seconds that milliseconds tell, too, and make it those."""
    checked = number(name, seconds)
    if not 0 <= checked <= INT64[1] // 1000:
        raise refuse(f"{name} must be 0 to {INT64[1] // 1000} seconds, not {checked}")
    return round(checked * 1000)


def command_line(value: object, name: str = "command") -> tuple[str, ...]:
    """Check a command and its arguments, which may be none, and make them a tuple."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise refuse(f"{name} must be a sequence of str, not {type(value).__name__}")
    command = tuple(argument(f"{name}[{index}]", item) for index, item in enumerate(value))
    if command and not command[0]:
        raise refuse(f"{name}[0] must not be empty")
    sizes = [len(item.encode()) for item in command]
    if any(size > MAX_ARGUMENT_BYTES for size in sizes):
        raise refuse(f"an element of {name} is longer than {MAX_ARGUMENT_BYTES} bytes")
    if sum(sizes) + len(sizes) > MAX_COMMAND_BYTES:
        raise refuse(f"{name} is longer than {MAX_COMMAND_BYTES} bytes")
    return command


def program(value: object, name: str = "command") -> tuple[str, ...]:
    """Check a command and its arguments, or a text for the shell of the sandbox, and make them a tuple."""
    if isinstance(value, str):
        if not argument(name, value):
            raise refuse(f"{name} must not be empty")
        value = (*_SHELL, value)
    command = command_line(value, name)
    if not command:
        raise refuse(f"{name} must have at least one element")
    return command


def variables(name: str, value: object) -> tuple[str, ...]:
    """Check what are pairs of name and value, a mapping or texts ``NAME=value``, and make them such texts."""
    if isinstance(value, Mapping):
        # Once joined, what a name and what a value was can no more be told.
        for key in value:
            if not argument(name, key) or "=" in key:
                raise refuse(f"{name} has the name {key[:100]!r}, which is empty or holds a '='")
        value = [f"{key}={argument(name, item)}" for key, item in value.items()]
    found = texts(name, value)
    for variable in found:
        key, equals, _ = argument(name, variable).partition("=")
        if not key or not equals:
            raise refuse(f"{name} has {variable[:100]!r}, which is not NAME=value")
    sizes = [len(variable.encode()) for variable in found]
    if any(size > MAX_ARGUMENT_BYTES for size in sizes):
        raise refuse(f"a variable of {name} is longer than {MAX_ARGUMENT_BYTES} bytes")
    if sum(sizes) + len(sizes) > MAX_COMMAND_BYTES:
        raise refuse(f"{name} is longer than {MAX_COMMAND_BYTES} bytes")
    return found


def secrets(value: object, name: str) -> tuple[str, ...]:
    """Check secrets, and make them a tuple of texts."""
    if isinstance(value, tuple) and not value:
        return value
    # Only now, like the rules of policies.
    from .secret import secret_entries

    return secret_entries(cast("Any", value), name)


def network_rules(value: object, name: str) -> tuple[str, ...]:
    """Check the entries of a policy, and make them a tuple."""
    entries = texts(name, value)
    if not entries:
        return entries
    # Only now: most programs need no policy, and it takes milliseconds.
    from .rules import Rule

    if len(entries) > _MOST_RULES:
        raise refuse(f"{name} has more than {_MOST_RULES} entries")
    for index, entry in enumerate(entries):
        try:
            Rule.parse(argument(f"{name}[{index}]", entry))
        except ValueError as error:
            raise refuse(f"{name}[{index}]: {error}") from None
    return entries
