"""The classes of the package that there are many of, each by its docstring: none can be forgotten."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sphinx.pycode import ModuleAnalyzer

import flash_sandbox
from codegen import openapi
from flash_sandbox import models as model_module
from flash_sandbox.errors import classes as error_module

__all__ = ["errors", "models", "types", "words"]

_ROOT: Final = Path(__file__).parents[2]
# What defines names that are neither classes nor words.
_MODULES: Final = ("flash_sandbox.options", "flash_sandbox.transports.base")


def errors() -> str:
    """Return every error class, in the order of `flash_sandbox.errors.classes`."""
    found = [
        one for one in vars(error_module).values() if isinstance(one, type) and issubclass(one, Exception)
    ]
    return _documented(found, "members", "show-inheritance")


def models() -> str:
    """Return every model that a call takes or returns, in the order of `flash_sandbox.models`."""
    # The last ones are of callers alone: what goes over the wire are texts.
    names = [*vars(model_module), *flash_sandbox.__all__]
    found = [getattr(flash_sandbox, name, None) for name in dict.fromkeys(names)]
    return _documented(
        [one for one in found if isinstance(one, type) and dataclasses.is_dataclass(one)], "members"
    )


def words() -> str:
    """Return every type whose values are names, in the order of the specs."""
    parts = (
        f".. py:data:: {word.name}\n\n   {word.doc} {', '.join(f'``{value}``' for value in word.values)}.\n\n"
        for word in openapi.load(_ROOT).words
    )
    return f"```{{eval-rst}}\n.. currentmodule:: flash_sandbox\n\n{''.join(parts)}```"


def types() -> str:
    """Return every other exported name, with the text that stands below its definition."""
    parts = []
    for module in _MODULES:
        texts = ModuleAnalyzer.for_module(module).find_attr_docs()
        for (_, name), lines in texts.items():
            if name in flash_sandbox.__all__:
                value = re.sub(r"typing\.|collections\.abc\.", "", str(getattr(flash_sandbox, name)))
                text = "".join(f"   {line}\n" for line in lines)
                parts.append(f".. py:data:: {name}\n   :value: {value}\n\n{text}\n")
    return f"```{{eval-rst}}\n.. currentmodule:: flash_sandbox\n\n{''.join(parts)}```"


def _documented(classes: Iterable[type], *options: str) -> str:
    named = [one.__name__ for one in classes if getattr(flash_sandbox, one.__name__, None) is one]
    lines = "".join(f"   :{option}:\n" for option in options)
    parts = "".join(f".. autoclass:: {name}\n{lines}\n" for name in named)
    return f"```{{eval-rst}}\n.. currentmodule:: flash_sandbox\n\n{parts}```"
