"""What both specs describe, in one form, so that they can be compared: operations, messages, fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Field", "Message", "Operation", "Place", "Route", "SpecError", "Vocabulary", "Word", "fold"]


class SpecError(Exception):
    """A spec says something that the project has no rule for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written: a file, relative to the repository, and a line, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message.

    Attributes:
        name: Name on the wire.
        type: Scalar type in protobuf's words, ``enum``, or the name of a message.
        place: Where it is described.
        doc: Description, white space folded.
        repeated: Whether it is a list.
        optional: Whether "not given" differs from the zero value.
        required: Whether the spec refuses a message without it.
        values: Values of an enum, in lower case, in order.
        number: Field number; 0 where the spec has none.
        schema: What HTTP's spec says of it; empty where it is part of a stream of bytes.
        opposite: Name and description of the clients' parameter that says the opposite; none for most.
    """

    name: str
    type: str
    place: Place
    doc: str = ""
    repeated: bool = False
    optional: bool = False
    required: bool = False
    values: tuple[str, ...] = ()
    number: int = 0
    schema: Mapping[str, Any] = field(default_factory=dict, compare=False)
    opposite: tuple[str, str] | None = None

    @property
    def shape(self) -> str:
        """The type as one word, such as ``repeated string``."""
        label = "repeated " if self.repeated else "optional " if self.optional else ""
        return f"{label}{self.type}" + (f"({', '.join(self.values)})" if self.values else "")


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent one way: the fields by name.

    Attributes:
        name: Name of the message or schema; empty where the spec gives it none (parameters alone, no body).
        place: Where it is described.
        doc: Description, white space folded.
        fields: Fields by name.
        reserved: Field numbers that may not be used.
        extends: The message whose fields it has, too; only HTTP's spec says so.
    """

    name: str
    place: Place
    doc: str = ""
    fields: dict[str, Field] = field(default_factory=dict)
    reserved: frozenset[int] = frozenset()
    extends: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """How an operation is called over HTTP; see `flash_sandbox_http.routes.Route`."""

    method: str
    path: str
    path_params: tuple[str, ...]
    query_params: tuple[str, ...]
    negated_params: tuple[tuple[str, str], ...]
    body: str
    answer: str
    success_status: int
    secured: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: its name in the facade, what is asked and what is answered.

    Attributes:
        name: Name in the facade.
        place: Where it is described.
        doc: Description, white space folded.
        request: What is asked.
        response: What is answered.
        rpc: Name of the gRPC method; empty where the spec has none.
        streams: Which of the two comes in any number: ``request``, ``response``, or empty for neither.
        route: How it is called over HTTP; None where the spec does not say.
        idempotent: Whether asking twice does no more than asking once; only HTTP's spec says so.
        keyed: Whether a call carries an idempotency key; only HTTP's spec says so.
        outlasts: Whether it waits for something to happen; only HTTP's spec says so.
        last: Types of a piece after which a streamed answer ends; only HTTP's spec says so.
        details: More of the description, white space folded; only HTTP's spec has it.
        raises: What fails it, by the name of the error; only HTTP's spec says so.
        returns: The field that the facade returns of an answer with several, or the class that it makes of a
            stream; empty for the whole answer, and where a person makes the call.
        lists: Whether the facade returns a list of what is many, which is a tuple otherwise.
        bounded: Whether the facade takes as many bytes of the answer as its caller says; of an answer that is
            what is at the request's path.
    """

    name: str
    place: Place
    doc: str
    request: Message
    response: Message
    rpc: str = ""
    streams: str = ""
    route: Route | None = None
    idempotent: bool = False
    keyed: bool = False
    outlasts: bool = False
    last: tuple[str, ...] = ()
    details: str = ""
    raises: Mapping[str, str] = field(default_factory=dict)
    returns: str = ""
    lists: bool = False
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """Texts that have names of their own: a type of which a newer orchestrator may know more values.

    Attributes:
        name: Name of the type.
        doc: Description, white space folded.
        values: Those that are known.
        constant: Name of the constant that holds what a caller may give; empty for none.
    """

    name: str
    doc: str
    values: tuple[str, ...]
    constant: str = ""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All that one spec describes."""

    name: str
    place: Place
    doc: str
    operations: dict[str, Operation]
    messages: dict[str, Message]
    words: tuple[Word, ...] = ()


def fold(text: str) -> str:
    """Return `text` with every run of white space made one space."""
    return " ".join(text.split())
