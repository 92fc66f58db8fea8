"""How values are shown to people: bounded, and without what commands a terminal or a page."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

__all__ = ["html_table", "printable", "shortened", "size"]

_LINES: Final = 20
_CHARACTERS: Final = 2000
_REPR_CHARACTERS: Final = 200
# Whatever the notebook's style sheet says of tables and of code.
_CELL: Final = "text-align:left;vertical-align:top"
_TEXT: Final = "margin:0;white-space:pre-wrap;overflow-wrap:anywhere"


def size(count: float) -> str:
    """Return a number of bytes with its unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def printable(text: str) -> str:
    """Return a text without what could command a terminal: such characters are escaped as Python does."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def shortened(text: str) -> str:
    """Return how Python writes a text, or the beginning of it and how long it is."""
    if len(text) <= _REPR_CHARACTERS:
        return repr(text)
    return f"{text[:_REPR_CHARACTERS]!r}... ({len(text)} characters)"


def html_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values, as a notebook shows it.

    Each value is text, whatever it holds, and of a long one the beginning.
    """
    # Notebooks look for formulas between dollar signs everywhere but in <pre> and <code>.
    lines = [
        f'<tr><th scope="row" style="{_CELL}">{html.escape(name)}</th>'
        f'<td style="{_CELL}"><pre style="{_TEXT}">{html.escape(_beginning(value))}</pre></td></tr>'
        for name, value in rows
    ]
    return f'<table><caption style="{_CELL}">{html.escape(title)}</caption>{"".join(lines)}</table>'


def _beginning(text: str) -> str:
    lines = text[:_CHARACTERS].split("\n")
    shown = "\n".join(lines[:_LINES])
    left = len(text) - len(shown)
    safe = "\n".join(printable(line.rstrip("\r").replace("\t", "    ")) for line in shown.split("\n"))
    return f"{safe}\n... ({left} more characters)" if left else safe
