"""A Sphinx extension: a line `<!-- generated: NAME -->` of a page is replaced by what is made of the code."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from sphinx.application import Sphinx

from . import classes, commands, operations, tables

__all__ = ["PARTS", "fill_in", "setup"]

PARTS: Final[dict[str, Callable[[], str]]] = {
    "capabilities": tables.capabilities,
    "host-etc": tables.host_etc,
    "commands": commands.reference,
    "error_classes": classes.errors,
    "errors": tables.errors,
    "models": classes.models,
    "operations": operations.reference,
    "repeats": tables.repeats,
    "types": classes.types,
    "words": classes.words,
}
"""What can be generated, by the name that a page asks for it by; each is Markdown."""

_PLACE: Final = re.compile(r"^<!-- generated: ([^ ]+) -->$", re.MULTILINE)


def fill_in(text: str) -> str:
    """Return a page with everything in it that is generated.

    Raises:
        KeyError: The page asks for what nothing makes.
    """
    return _PLACE.sub(lambda match: PARTS[match[1]](), text)


def _on_read(_: Sphinx, __: str, content: list[str]) -> None:
    content[0] = fill_in(content[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Join Sphinx."""
    app.connect("source-read", _on_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
