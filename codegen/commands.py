"""What `python -m codegen` does: generate, or check. Each returns what is wrong, one text a problem."""

from __future__ import annotations

from pathlib import Path

from . import openapi, parity, producers, protobuf, tree, wire
from .vocabulary import SpecError

__all__ = ["check", "generate"]


def generate(root: Path) -> list[str]:
    """Write everything that is generated under `root`.

    Raises:
        tools.ToolError: A generator failed; nothing was written.
    """
    try:
        files = producers.produce(root)
    except SpecError as error:
        return [str(error)]
    tree.write(root, files, _folders())
    print(f"codegen: {len(files)} files written")
    return []


def check(root: Path) -> list[str]:
    """Compare both specs with each other and with the published contract, and generated code with the specs.

    Raises:
        tools.ToolError: A generator failed.
    """
    try:
        http, grpc = openapi.load(root), protobuf.load(root)
        problems = parity.mismatches(http, grpc) + wire.violations(http, grpc)
        drift = tree.differences(root, producers.produce(root), _folders())
    except SpecError as error:
        return [str(error)]
    if drift:
        drift.append("run `make generate` and commit the result; never edit these files by hand")
    if not problems + drift:
        print("codegen: generated code is up to date, the specs agree")
    return problems + drift


def _folders() -> list[Path]:
    return [folder for producer in producers.PRODUCERS for folder in producer.folders]
