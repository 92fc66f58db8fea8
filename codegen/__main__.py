"""`python -m codegen`: write what is generated, or check it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from . import openapi, parity, producers, protobuf, tools, tree, wire
from .vocabulary import SpecError

_ROOT: Final = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate or check, print what happened and return the exit code: 0, or 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m codegen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where something differs")
    parser.add_argument("--root", type=Path, default=_ROOT, help="the repository (default: this one)")
    options = parser.parse_args(arguments)
    root: Path = options.root.resolve()
    try:
        tools.check_tools()
        return _check(root) if options.check else _generate(root)
    except (SpecError, tools.ToolError) as error:
        print(f"codegen: {error}", file=sys.stderr)
        return 1


def _folders() -> list[Path]:
    return [folder for producer in producers.PRODUCERS for folder in producer.folders]


def _generate(root: Path) -> int:
    files = producers.produce(root)
    tree.write(root, files, _folders())
    print(f"codegen: {len(files)} files written")
    return 0


def _check(root: Path) -> int:
    http, grpc = openapi.load(root), protobuf.load(root)
    problems = parity.mismatches(http, grpc) + wire.violations(http, grpc)
    drift = tree.differences(root, producers.produce(root), _folders())
    if drift:
        problems += [*drift, "run `make generate` and commit the result; never edit these files by hand"]
    for problem in problems:
        print(f"codegen: {problem}", file=sys.stderr)
    if not problems:
        print("codegen: generated code is up to date, the specs agree")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
