"""What is known of one operation; `operations` is the table of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

__all__ = ["KEEPALIVE", "Operation"]

Req = TypeVar("Req")
Res = TypeVar("Res")


@dataclass(frozen=True, slots=True)
class Operation(Generic[Req, Res]):
    """One operation.

    Attributes:
        name: Name in the facade, the service core and the OpenAPI document.
        rpc: Name of the gRPC method.
        request: Model of what is asked.
        result: Model of what is answered.
        repeatable: Whether asking twice does no more than asking once, so that a lost answer is asked again.
        keyed: Whether a call carries an idempotency key, by which the orchestrator knows it again.
        outlasts: Whether it waits for something to happen: a restart of the orchestrator is waited out.
        streams: What comes in any number: ``response`` (each a `result`), ``bytes`` (the same, of which HTTP
            carries the data alone), ``request`` (bytes after the request), or empty for neither.
        last: Types of a piece after which a streamed answer ends; before them it is cut short.
    """

    name: str
    rpc: str
    request: type[Req]
    result: type[Res]
    repeatable: bool = False
    keyed: bool = False
    outlasts: bool = False
    streams: Literal["", "response", "bytes", "request"] = ""
    last: frozenset[str] = frozenset()

    def is_last(self, piece: Res) -> bool:
        """Tell whether a streamed answer is complete with a piece."""
        return getattr(piece, "type", "") in self.last


KEEPALIVE: Final = "keepalive"
"""Type of a piece of a streamed answer that says that nothing has happened for a while."""
