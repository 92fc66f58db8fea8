"""Write what is generated from the specs, or check it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from . import tools

_ROOT: Final = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate or check, say what happened and return the exit code: 0, or 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m codegen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where something differs")
    parser.add_argument("--root", type=Path, default=_ROOT, help="the repository (default: this one)")
    options = parser.parse_args(arguments)
    try:
        tools.check_tools()
        # Needs the tools, so it is imported once they are known to be there.
        from . import commands

        problems = (commands.check if options.check else commands.generate)(options.root.resolve())
    except tools.ToolError as error:
        problems = [str(error)]
    except ModuleNotFoundError as error:
        problems = [f"{error}\ninstall what development needs: {tools.INSTALL_ALL}"]
    for problem in problems:
        print(f"codegen: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
