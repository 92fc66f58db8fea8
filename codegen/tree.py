"""Writes what was generated, or compares it with what is checked in."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

__all__ = ["differences", "write"]

_DIFF_LINES: Final = 12


def write(root: Path, files: dict[Path, bytes], folders: Iterable[Path]) -> None:
    """Replace `folders` under `root`, and the files that lie elsewhere, by `files`."""
    for folder in folders:
        shutil.rmtree(root / folder, ignore_errors=True)
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def differences(root: Path, files: dict[Path, bytes], folders: Iterable[Path]) -> list[str]:
    """Return what under `root` differs from `files`: one text per missing, extra or changed file."""
    problems = []
    for path, content in sorted(files.items()):
        if not (root / path).is_file():
            problems.append(f"{path}: missing")
        elif (actual := (root / path).read_bytes()) != content:
            problems.append(f"{path}: differs from what is generated\n{_diff(path, actual, content)}")
    present = sorted(path for folder in folders for path in _files(root, folder))
    return problems + [f"{path}: not generated" for path in present if path not in files]


def _files(root: Path, folder: Path) -> Iterator[Path]:
    for path in (root / folder).rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(root)


def _diff(path: Path, actual: bytes, expected: bytes) -> str:
    lines = difflib.unified_diff(
        actual.decode("utf-8", "replace").splitlines(),
        expected.decode("utf-8", "replace").splitlines(),
        fromfile=f"{path} (checked in)",
        tofile=f"{path} (generated)",
        n=1,
        lineterm="",
    )
    shown = list(islice(lines, _DIFF_LINES + 1))
    more = ["    ..."] if len(shown) > _DIFF_LINES else []
    return "\n".join([f"    {line}" for line in shown[:_DIFF_LINES]] + more)
