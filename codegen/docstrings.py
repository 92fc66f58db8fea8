"""The docstrings of the clients' methods, from what the specs say of an operation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from . import tools
from .vocabulary import Operation

__all__ = ["TIMEOUT", "TIMEOUT_OF_COMMAND", "TIMEOUT_OF_PAGE", "TIMEOUT_OF_STREAM", "Docstring", "raised"]

_LEFT_OUT: Final = "None for no time-out; the client's where it is left out."
TIMEOUT: Final = f"Seconds for the whole call; {_LEFT_OUT}"
TIMEOUT_OF_STREAM: Final = f"Seconds for the beginning; {_LEFT_OUT}"
TIMEOUT_OF_PAGE: Final = f"Seconds for the call of each page; {_LEFT_OUT}"
TIMEOUT_OF_COMMAND: Final = (
    "Seconds for the whole call; None for no time-out. Where it is left out, the client's, or a few seconds "
    "more than `limit` where that is longer."
)
_FAILED: Final = "The call failed; see `flash_sandbox.errors` for the classes."

_INDENT: Final = " " * 8
# What fails an operation that names such a thing in its path.
_UNKNOWN: Final = {
    "id": ("SandboxNotFoundError", "There is no such sandbox."),
    "process_id": ("ProcessNotFoundError", "There is no such process in it."),
}


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring of a method.

    Attributes:
        summary: The first line, or a few of them.
        details: The paragraph after it; empty for none.
        arguments: What is said of each argument.
        raises: What is said of each error.
    """

    summary: str
    details: str
    arguments: Mapping[str, str]
    raises: Mapping[str, str]

    def source(self) -> str:
        """Return the statement that it is, in the body of a method."""
        paragraphs = filter(None, (f'"""{self.summary}', self.details))
        sections = ["\n".join(_wrapped(text, _INDENT, _INDENT)) for text in paragraphs]
        for title, entries in (("Args", self.arguments), ("Raises", self.raises)):
            if entries:
                sections.append("\n".join((f"{_INDENT}{title}:", *_entries(entries))))
        if len(sections) == 1:
            return f'{sections[0]}"""\n'
        return "\n\n".join(sections) + f'\n{_INDENT}"""\n'


def raised(operation: Operation) -> dict[str, str]:
    """Return what fails an operation, the error that all others are last."""
    assert operation.route is not None
    unknown = dict(_UNKNOWN[name] for name in operation.route.path_params if name in _UNKNOWN)
    return unknown | dict(operation.raises) | {"SandboxError": _FAILED}


def _entries(entries: Mapping[str, str]) -> Iterator[str]:
    for name, text in entries.items():
        yield from _wrapped(f"{name}: {text}", _INDENT + " " * 4, _INDENT + " " * 8)


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text,
        tools.LINE_LENGTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
