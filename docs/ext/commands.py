"""The reference of the command line, from what each command's ``--help`` is made of."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any, Final

import typer.main

from flash_sandbox.cli import app

from .markdown import code, table

__all__ = ["reference"]

_OF_EVERY_COMMAND: Final = {"help"}


def reference() -> str:
    """Return a section for each command, in the order of ``flash-sandbox --help``."""
    return "\n".join(_sections(typer.main.get_command(app), ("flash-sandbox",)))


def _sections(command: Any, names: tuple[str, ...]) -> Iterator[str]:
    # The classes of typer's commands are private to it: a group is what has commands.
    inner = getattr(command, "commands", None)
    if inner is not None:
        for name in command.list_commands(None):
            if not inner[name].hidden:
                yield from _sections(inner[name], (*names, name))
        return
    usage = " ".join([*names, *command.collect_usage_pieces(command.context_class(command))])
    yield f"## {' '.join(names[1:])}\n\n{' '.join((command.help or '').split())}\n\n```text\n{usage}\n```\n"
    rows = [_row(one) for one in command.params if one.name not in _OF_EVERY_COMMAND and not one.hidden]
    if rows:
        yield table(("", "meaning", "default"), rows)


def _row(one: Any) -> tuple[str, str, str]:
    names = [*one.opts, *one.secondary_opts] if one.param_type_name == "option" else [one.metavar or one.name]
    envvar = f" (`${one.envvar}`)" if one.envvar else ""
    return ", ".join(map(code, names)), f"{one.help or ''}{envvar}", _default(one)


def _default(one: Any) -> str:
    if isinstance(one.show_default, str):
        return one.show_default
    value = one.default.value if isinstance(one.default, enum.Enum) else one.default
    if one.required:
        return "required"
    return "" if value is None or value is False or not one.show_default else code(str(value))
