"""What schemathesis changes in the requests that it makes; see `test_schema_fuzz`."""

from __future__ import annotations

from typing import Any, Final

import schemathesis

_MILLISECONDS: Final = 1000
# What is above that is to be refused (specs/openapi.yaml).
_MOST_MILLISECONDS: Final = 99_999_999_000


@schemathesis.hook
def before_call(context: object, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Let no command run on for ever: ^S in the input of a terminal stops its output (termios(3), IXON)."""
    body = case.body
    if not isinstance(body, dict) or body.get("tty") is not True:
        return
    limit = body.get("timeout_ms", 0)
    if limit == 0 or (isinstance(limit, int) and _MILLISECONDS < limit <= _MOST_MILLISECONDS):
        body["timeout_ms"] = _MILLISECONDS
