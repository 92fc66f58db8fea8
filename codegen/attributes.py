"""How a field of a message becomes an attribute of a model: its annotation, default and check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .vocabulary import Field, SpecError, Vocabulary

__all__ = ["PAIR", "Attribute", "attribute", "model_name"]

_ID: Final = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
# What a pattern is called in `flash_sandbox.models.checks`.
_PATTERNS: Final = {
    "^([A-Za-z0-9][A-Za-z0-9_.-]{0,127})?$": "optional_name",
    "^/": "path_in_sandbox",
    "^(/|$)": "optional_directory",
    "^[^\0]*$": "argument",
    r"^[^\x00]*$": "argument",
}
PAIR: Final = "^[^=]+="
_RANGES: Final = {
    "int32": ("INT32", -(2**31), 2**31 - 1),
    "int64": ("INT64", -(2**63), 2**63 - 1),
    "uint32": ("UINT32", 0, 2**32 - 1),
    "uint64": ("UINT64", 0, 2**64 - 1),
}
_KINDS: Final = {
    "string": ("str", '""'),
    "bytes": ("bytes", 'b""'),
    "bool": ("bool", "False"),
    "float": ("float", "0.0"),
    "double": ("float", "0.0"),
    **dict.fromkeys(_RANGES, ("int", "0")),
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a model.

    Attributes:
        name: Name of the field.
        annotation: Its type, as source.
        default: Its default, as source; empty where there is none.
        check: Statement that checks it, as source; empty where there is none.
        doc: Description.
    """

    name: str
    annotation: str
    default: str
    check: str
    doc: str

    @property
    def source(self) -> str:
        """Its name, type and default."""
        return f"{self.name}: {self.annotation}" + (f" = {self.default}" if self.default else "")


def model_name(message: str) -> str:
    """Return what the model of a message is called."""
    return message.removesuffix("Response") + "Result" if message.endswith("Response") else message


def attribute(field: Field, asked: bool, vocabulary: Vocabulary) -> Attribute:
    """Return the attribute that a field becomes.

    Args:
        field: As HTTP's spec describes it.
        asked: Whether it is part of a request: what a caller gives is checked more strictly than an answer.
        vocabulary: Where words and messages are described.

    Raises:
        SpecError: There is no rule for it.
    """
    if field.optional:
        raise SpecError(f"{field.place}: no rule for a model's field that is optional")
    annotation, default = _type(field, vocabulary)
    return Attribute(
        name=field.name,
        annotation=annotation,
        default="" if asked and field.required and field.schema else default,
        check=_check(field, asked, vocabulary),
        doc=field.doc,
    )


def _type(field: Field, vocabulary: Vocabulary) -> tuple[str, str]:
    word = field.schema.get("x-word")
    if word is not None:
        if word not in {one.name for one in vocabulary.words}:
            raise SpecError(f"{field.place}: x-words has no {word}")
        return f'{word} | Literal[""]', '""'
    if field.type in _KINDS:
        kind, zero = _KINDS[field.type]
    elif field.type in vocabulary.messages:
        kind = model_name(field.type)
        zero = f"{kind}()"
    else:
        raise SpecError(f"{field.place}: no rule for a model's field of type {field.type}")
    return (f"tuple[{kind}, ...]", "()") if field.repeated else (kind, zero)


def _check(field: Field, asked: bool, vocabulary: Vocabulary) -> str:
    if field.type in vocabulary.messages:
        return ""
    name, given = repr(field.name), f"self.{field.name}"
    own = field.schema.get("x-check")
    if own is not None:
        return _kept(field, f"{own}({given}, {name})")
    if field.repeated:
        pairs = field.schema["items"].get("pattern") == PAIR
        return _kept(field, f"{'variables' if pairs else 'texts'}({name}, {given})")
    if field.type == "string":
        return _text(field, asked, vocabulary)
    if field.type == "bytes":
        return _kept(field, f"content({name}, {given}, {field.schema.get('x-max-bytes')})")
    if field.type == "bool":
        return f"boolean({name}, {given})"
    if field.type in _RANGES:
        return _integer(field)
    return _kept(field, _number(field))


def _kept(field: Field, call: str) -> str:
    """Return the statement that keeps what a check makes of a value."""
    return f'object.__setattr__(self, "{field.name}", {call})'


def _text(field: Field, asked: bool, vocabulary: Vocabulary) -> str:
    schema, name, given = field.schema, repr(field.name), f"self.{field.name}"
    if schema.get("x-checked"):
        (known,) = (word.constant for word in vocabulary.words if word.name == schema["x-word"])
        return f"word({name}, {given}, {known})"
    pattern = schema.get("pattern")
    if pattern == _ID:
        thing = field.name.removesuffix("id").rstrip("_") or "sandbox"
        return f"sandbox_id({given}, {(thing if thing == field.name else f'{thing} ID')!r})"
    if pattern is not None:
        if pattern not in _PATTERNS:
            raise SpecError(f"{field.place}: no check for the pattern {pattern}")
        return f"{_PATTERNS[pattern]}({name}, {given})"
    most = schema.get("x-max-bytes", schema.get("maxLength"))
    if schema.get("minLength"):
        return f"filled({name}, {given}, {most})"
    return f"{'argument' if asked else 'text'}({name}, {given})"


def _integer(field: Field) -> str:
    schema = field.schema
    known, low, high = _RANGES[field.type]
    least, most = schema.get("minimum", low), schema.get("maximum", high)
    bounds = known if (least, most) == (low, high) else f"({least}, {most})"
    not_zero = f", least={schema['x-least']}" if "x-least" in schema else ""
    return f"integer({field.name!r}, self.{field.name}, {bounds}{not_zero})"


def _number(field: Field) -> str:
    schema, given = field.schema, f"{field.name!r}, self.{field.name}"
    bounds: dict[str, Any] = {key: schema[key] for key in ("minimum", "maximum") if key in schema}
    if "exclusiveMinimum" in schema:
        return f"above({given}, {schema['exclusiveMinimum']}, {schema['maximum']})"
    if bounds:
        return f"between({given}, {schema['minimum']}, {schema['maximum']})"
    return f"number({given})"
