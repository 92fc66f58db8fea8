"""Models to and from the generated layers: one module a transport, pure functions, both ends.

Fields are converted by name, since both specs share one vocabulary; nothing here knows an operation.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_ANSWER_BYTES", "MAX_REQUEST_BYTES"]

MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""Largest request that an orchestrator takes on either transport; a larger one is `too_large`."""

MAX_ANSWER_BYTES: Final = 128 * 1024 * 1024
"""Largest answer that a client takes on either transport; a larger one is a `ProtocolError`."""
