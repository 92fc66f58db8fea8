"""Every package that is imported is declared in pyproject.toml, and every declared one is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
OWN: Final = {"flash_sandbox", "flash_sandbox_grpc", "flash_sandbox_guest", "flash_sandbox_http", "codegen"}
# Of later Pythons, or of type checkers alone.
OF_PYTHON: Final = {"compression", "_typeshed"}
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: Final = PROJECT["project"]["optional-dependencies"]
DISTRIBUTIONS: Final = packages_distributions()

SERVER: Final = {"cli.py", "command_line", "orchestrator"}
PACKAGE: Final = ROOT / "flash_sandbox"
ORCHESTRATOR: Final = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] in SERVER]
CLIENT: Final = [
    *(ROOT / "generated").rglob("*.py"),
    *(path for path in PACKAGE.rglob("*.py") if path not in ORCHESTRATOR),
]


def names(lines: Iterable[str]) -> set[str]:
    """Return the names of packages, as PyPI normalises them, in lines of pyproject.toml."""
    return {re.sub("[-_.]+", "-", re.match(r"[\w.-]+", line)[0].lower()) for line in lines}  # type: ignore[index]


def imported(path: Path) -> Iterator[str]:
    """Yield the packages of others that a module imports, by the name of their module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found = [node.module or ""]
        else:
            continue
        for name in (each.partition(".")[0] for each in found):
            if name not in sys.stdlib_module_names and name not in OWN | OF_PYTHON:
                yield name


def distributions(paths: Iterable[Path]) -> dict[str, set[str]]:
    """Return the distributions that may hold each package that the modules import."""
    return {name: names(DISTRIBUTIONS.get(name, ())) for path in paths for name in imported(path)}


@pytest.mark.parametrize(
    ("paths", "declared"),
    [
        # A caller has loaded grpcio who gives a channel of it.
        (
            CLIENT,
            [
                *PROJECT["project"]["dependencies"],
                *EXTRAS["mcp"],
                *EXTRAS["otel"],
                *EXTRAS["requests"],
                "grpcio",
            ],
        ),
        (ORCHESTRATOR, [*PROJECT["project"]["dependencies"], *EXTRAS["otel"], *EXTRAS["orchestrator"]]),
        ([*(ROOT / "codegen").glob("*.py")], EXTRAS["dev"]),
        ([ROOT / "hatch_build.py"], PROJECT["build-system"]["requires"]),
    ],
    ids=["client", "orchestrator", "codegen", "build"],
)
def test_what_is_imported_is_declared(paths: list[Path], declared: list[str]) -> None:
    found = distributions(paths)
    assert found
    assert not {name for name, candidates in found.items() if not candidates & names(declared)}


def test_what_is_declared_is_imported() -> None:
    declared = {
        *PROJECT["project"]["dependencies"],
        *(line for extra in ("mcp", "orchestrator", "otel", "requests") for line in EXTRAS[extra]),
    }
    # pyproject.toml says why nothing here imports it.
    unused = names(declared) - {"sniffio", PROJECT["project"]["name"]}
    for candidates in distributions([*CLIENT, *ORCHESTRATOR]).values():
        unused -= candidates
    assert not unused
