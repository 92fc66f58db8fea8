"""Options that are fields of a request, described as both specs describe those."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, Final, get_origin

import typer

__all__ = ["described", "field_option"]

# The last sentence, where it says what the zero value stands for.
_NOT_GIVEN: Final = re.compile(r" (?:0|Empty) is ([^.]+)\.$")


def field_option(model: type[Any], field: str, *forms: str, **more: Any) -> Any:
    """Return an option that is a field of a request.

    Args:
        model: Model of the request.
        field: Name of the field.
        forms: The option's names.
        more: What else ``typer.Option`` takes.
    """
    meaning, default = described(model, field)
    (found,) = (one for one in dataclasses.fields(model) if one.name == field)
    if get_origin(found.type) is tuple:
        meaning += " May be repeated."
    return typer.Option(*forms, help=meaning, show_default=default or True, **more)


def described(model: type[Any], field: str) -> tuple[str, str]:
    """Return what a field means, and what holds where it is not given, from the docstring of its model."""
    attribute = rf"^    {field}: (.*?)(?=^    \w+: |\Z)"
    found = re.search(attribute, inspect.getdoc(model) or "", re.DOTALL | re.MULTILINE)
    # Python leaves docstrings out where it is asked to.
    text = " ".join(found[1].split()) if found else ""
    not_given = _NOT_GIVEN.search(text)
    return (text[: not_given.start()], not_given[1]) if not_given else (text, "")
