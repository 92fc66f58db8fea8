"""Measure sandboxes beside their floors and peers, and write RESULTS.md and its plots.

Every round does each measure once, in a random order, so that whatever else the machine does meets
all of them alike. The orchestrator is a process of its own, as in real use.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import Final

from .parts import ALONE, PARTS
from .plots import draw
from .report import Answer, Report, questions
from .serving import limits

RESULTS: Final = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=[*PARTS, *ALONE], help="measure one part alone, and write no file")
    parser.add_argument("--rounds", type=int, help="how many rounds each part has; each its own number")
    parser.add_argument("--short", action="store_true", help="one round of little of everything, and no file")
    parser.add_argument("--dry", action="store_true", help="print the table, write no file")
    parser.add_argument("--out", type=Path, help="where to write what is measured, rather than RESULTS.md")
    arguments = parser.parse_args()
    reports, missing = [], []
    for name in [arguments.only] if arguments.only else PARTS:
        part = (PARTS | ALONE)[name]
        if (lacks := part.missing()) is not None:
            missing.append(f"{name}: {lacks[1]}")
            continue
        began = time.monotonic()
        reports.append(
            part.report(arguments.rounds or (1 if arguments.short else part.rounds), arguments.short)
        )
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    text = _results(reports, missing)
    print(text)
    out = arguments.out or (None if arguments.only or arguments.short or arguments.dry else RESULTS)
    if out is not None:
        _write(out, text, reports)


def _results(reports: list[Report], missing: list[str]) -> str:
    machine = f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
    answers: list[Answer] = [answer for report in reports for answer in report.answers]
    head = [
        "# Results",
        "",
        "Written by `make bench`; not edited. One run on one machine, every row beside its floor:",
        f"{machine}; limits: {limits()}; user: {'root' if os.geteuid() == 0 else 'ordinary'}.",
        *(f"Not measured here: {lacks}." for lacks in missing),
        "",
        questions(answers),
    ]
    return "\n".join(head) + "".join(report.markdown() for report in reports)


def _write(out: Path, text: str, reports: list[Report]) -> None:
    directory = out.with_name("plots")
    directory.mkdir(parents=True, exist_ok=True)
    for report in reports:
        for plot in report.plots:
            draw(plot, directory)
    out.write_text(text)


if __name__ == "__main__":
    main()
