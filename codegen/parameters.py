"""How a field of a request becomes a parameter of a client's method: its type, default and description."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .attributes import PAIR, attribute
from .vocabulary import Field, Operation, Vocabulary

__all__ = ["Parameter", "parameters", "waits"]

_NAMES: Final = {"id": "sandbox_id", "timeout_ms": "limit"}
# What the zero value stands for, None does in Python, unless that is a number.
_ZERO: Final = re.compile(r"(?<=\. )(?:0|Empty)(?= [a-z])")
_NUMBER: Final = re.compile(r" 0 is (?:the default of )?(octal )?(\d+)\.$")
# What else than the field's own type a parameter takes, by the field's check or type.
_WIDER: Final = {
    "pairs": ("Mapping[str, str] | Sequence[str]", "Or a mapping of names to values."),
    "secrets": ("Mapping[str, Secret] | Sequence[str]", "Or a mapping of names to `Secret`."),
    "program": ("Sequence[str] | str", "A text is run by ``/bin/sh``."),
    "signal_number": ("int | str", "Or its name, such as ``TERM`` or ``SIGTERM``."),
    "bytes": ("bytes | str", "A text is sent as UTF-8."),
    "volumes": (
        "Mapping[str, str | PathLike[str] | Volume] | Sequence[str]",
        "Or a mapping of targets to sources, each a name, a path that may be relative, or a `Volume`.",
    ),
    "repeated": ("Sequence[str]", ""),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a method.

    Attributes:
        name: Its name.
        annotation: Its type, as source.
        default: Its default, as source; empty where there is none.
        doc: Its description.
        field: The field that it becomes; empty for none.
        value: What the field is given, as source.
        positional: Whether it may be given by its position.
    """

    name: str
    annotation: str
    default: str
    doc: str
    field: str = ""
    value: str = ""
    positional: bool = False

    @property
    def source(self) -> str:
        """The parameter in a signature."""
        return f"{self.name}: {self.annotation}" + (f" = {self.default}" if self.default else "")


_CHUNKS: Final = Parameter(
    "chunks", "AsyncIterable[bytes]", "", "The bytes to send, in pieces of any size.", positional=True
)
_BOUND: Final = Parameter(
    "max_bytes",
    "int | None",
    "None",
    "Most bytes that may come, 0 to 2**63 - 1; None for no bound of the caller's.",
)
_LIMIT: Final = Parameter(
    "limit",
    "float | None",
    "None",
    "Seconds that it may take; then it is ended with all that it started. None for any time.",
    "timeout_ms",
    "milliseconds_of(limit)",
)
_WAITING_LIMIT: Final = Parameter(
    "limit",
    "float | NotGiven | None",
    "NOT_GIVEN",
    "Seconds that it may take; then it is ended with all that it started, and the result has what it printed "
    "until then. None for any time. Where it is left out, `timeout` is the limit.",
    "timeout_ms",
    "timeout_ms",
)


def waits(operation: Operation) -> bool:
    """Return whether an operation, as HTTP's spec describes it, answers once a command has ended."""
    answered = not operation.streams and "timed_out" in operation.response.fields
    return answered and "timeout_ms" in operation.request.fields


def parameters(http: Operation, grpc: Operation, vocabulary: Vocabulary) -> list[Parameter]:
    """Return what a client's method takes for an operation, but for the time-out.

    Args:
        http: The operation as HTTP's spec describes it.
        grpc: The same as gRPC's does, whose order of the fields holds.
        vocabulary: Where HTTP's spec describes words and messages.

    Raises:
        SpecError: There is no rule for a field.
    """
    fields = [http.request.fields[name] for name in grpc.request.fields if name in http.request.fields]
    found = [_parameter(field, waits(http), vocabulary) for field in fields if field.schema]
    if grpc.streams == "request":
        found.append(_CHUNKS)
    if http.bounded:
        found.append(_BOUND)
    # Without a default first, then by position; the limit goes beside the time-out.
    return sorted(found, key=lambda one: (bool(one.default), not one.positional, one.name == _LIMIT.name))


def _parameter(field: Field, waiting: bool, vocabulary: Vocabulary) -> Parameter:
    name = field.schema.get("x-argument") or _NAMES.get(field.name, field.name)
    if field.name == _LIMIT.field:
        return _WAITING_LIMIT if waiting else _LIMIT
    if field.name.endswith("_ms"):
        # A moment.
        name = field.name.removesuffix("_ms")
        value = f"milliseconds({name!r}, 0 if {name} is None else {name})"
        doc = _doc(field, "None").replace(" milliseconds ", " seconds ")
        return Parameter(name, "float | None", "None", doc, field.name, value)
    if field.opposite:
        name, doc = field.opposite
        return Parameter(name, "bool", "True", doc, field.name, f"not {name}")
    annotation, more = _type(field, vocabulary)
    default = _default(field)
    own = attribute(field, True, vocabulary)
    # The model makes its own type of it.
    value = name if annotation == own.annotation else f'cast("Any", {name})'
    if default == "None":
        annotation += " | None"
        value = f"{own.default} if {name} is None else {value}"
    elif _NUMBER.search(field.doc):
        # Omit the default: older orchestrators may know no other.
        value = f"0 if {name} == {default} else {name}"
    positional = field.required or bool({"x-default", "x-positional"} & field.schema.keys())
    doc = " ".join(filter(None, (_doc(field, default), more)))
    return Parameter(name, annotation, default, doc, field.name, value, positional)


def _type(field: Field, vocabulary: Vocabulary) -> tuple[str, str]:
    """Return the type of a parameter, and what is to say of it besides the field's description."""
    kind = field.schema.get("x-check", field.type)
    if field.repeated and kind not in _WIDER:
        kind = "pairs" if field.schema["items"].get("pattern") == PAIR else "repeated"
    return _WIDER.get(kind) or (attribute(field, True, vocabulary).annotation, "")


def _default(field: Field) -> str:
    if "x-default" in field.schema:
        default = field.schema["x-default"]
        return repr(default.encode() if field.type == "bytes" else default)
    if field.required:
        return ""
    number = _NUMBER.search(field.doc)
    if number:
        return ("0o" if number[1] else "") + number[2]
    if field.type == "bool":
        return "False"
    is_number = not field.repeated and field.type not in ("string", "bytes")
    return "0" if is_number and not _ZERO.search(field.doc) else "None"


def _doc(field: Field, default: str) -> str:
    return _ZERO.sub("None", field.doc) if default == "None" else _NUMBER.sub("", field.doc)
