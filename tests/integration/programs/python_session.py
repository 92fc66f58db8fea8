"""Runs blocks of Python, one a line of JSON on standard input, in one namespace; says what each has printed.

With the argument ``loop`` they run inside of a running event loop, and may await, as in a notebook.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import sys
import traceback
from types import CodeType
from typing import Any


def main() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.ExitStack() as stack:
        loop = stack.enter_context(asyncio.Runner()) if "loop" in sys.argv[1:] else None
        for line in sys.stdin:
            asked = json.loads(line)
            printed, error = io.StringIO(), ""
            with contextlib.redirect_stdout(printed):
                try:
                    if loop is None:
                        exec(compiled(asked), names)
                    else:
                        loop.run(run_as_a_cell(compiled(asked, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names))
                except BaseException:
                    error = traceback.format_exc()
            print(json.dumps({"printed": printed.getvalue(), "error": error}), flush=True)


async def run_as_a_cell(code: CodeType, names: dict[str, Any]) -> None:
    found = eval(code, names)
    if inspect.isawaitable(found):
        await found


def compiled(asked: dict[str, Any], flags: int = 0) -> CodeType:
    # So many lines before it that a traceback names the page's own.
    text = "\n" * (asked["line"] - 1) + asked["text"]
    return compile(text, asked["file"], "exec", flags=flags, dont_inherit=True)


if __name__ == "__main__":
    main()
