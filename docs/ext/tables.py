"""Tables of the code that are pages' tables, too: errors, repeats, runtimes, image ``host``."""

from __future__ import annotations

from flash_sandbox.errors import TABLE
from flash_sandbox.operations import OPERATIONS
from flash_sandbox.orchestrator.images.host_image import SHOWN
from flash_sandbox.orchestrator.runtimes import catalogue

from .markdown import code, table

__all__ = ["capabilities", "errors", "host_etc", "repeats"]


def errors() -> str:
    """Return every reason with what each side calls it, from `flash_sandbox.errors.TABLE`."""
    rows = [
        (
            code(row.reason),
            f"{{py:class}}`~flash_sandbox.{row.error.__name__}`",
            str(row.status_code or "none"),
            code(row.grpc_status or "") or "none",
            "yes" if row.retryable else "no",
        )
        for row in TABLE
    ]
    return table(("reason", "class", "HTTP", "gRPC", "retryable"), rows)


def repeats() -> str:
    """Return which operation is repeated after which failure, from `flash_sandbox.operations`."""
    rows = [
        (
            f"[`{row.name}`](../reference/operations.md#{row.name.replace('_', '-')})",
            "yes",
            "yes" if row.repeatable or row.keyed else "no",
            "yes" if row.repeatable or row.keyed else "no",
            "idempotency key" if row.keyed else "it changes nothing twice" if row.repeatable else "",
        )
        for row in OPERATIONS
    ]
    head = ("operation", "connection never made", "answer lost", "a retryable error", "because")
    return table(head, rows)


def capabilities() -> str:
    """Return what each runtime can do, from `flash_sandbox.orchestrator.runtimes.capabilities`."""
    able = {name: one.rows() for name, one in catalogue.capabilities().items()}
    subjects = next(iter(able.values()))
    rows = [(subject, *(able[name][subject] for name in able)) for subject in subjects]
    return table(("", *map(code, able)), rows)


def host_etc() -> str:
    """Return what image ``host`` shows of the host's /etc, from `images.host_image.SHOWN`."""
    rows = [(purpose, ", ".join(map(code, names))) for purpose, names in SHOWN.items()]
    return table(("what", "names in `/etc`"), rows)
