"""The fields of a model: their kinds, and values of unsure origin read into them strictly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from ..errors import InvalidArgumentError
from ..operations import Operation

__all__ = ["ModelReader", "answer_name"]

M = TypeVar("M")

Check = Callable[[object], bool]

_TEXTS: Final = tuple[str, ...]


def _is_text_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_object_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, Mapping) for item in value)


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


# bool is an int to Python, but not on the wire; 1.0 is a float on the wire, also where an int is due.
_KINDS: Final[dict[object, tuple[Check, str, object]]] = {
    str: (lambda value: type(value) is str, "a string", ""),
    int: (lambda value: type(value) is int, "an integer", 0),
    float: (lambda value: type(value) is float or type(value) is int, "a number", 0.0),
    bool: (lambda value: type(value) is bool, "true or false", False),
    bytes: (lambda value: type(value) is bytes, "bytes", b""),
    _TEXTS: (_is_text_list, "a list of strings", ()),
}
_OBJECTS: Final[tuple[Check, str, object]] = (_is_object_list, "a list of objects", ())
_OBJECT: Final[tuple[Check, str, object]] = (_is_object, "an object", {})


class ModelReader:
    """Make models of one class from what a peer sent, by field name.

    Attributes:
        model: The class.
        names: The fields of the model, in its order.
        kinds: Type of each field by its name.
        nested: What reads a field that is another model, or a tuple of such, by the name of the field.
    """

    def __init__(self, model: type[Any]) -> None:
        hints = get_type_hints(model)
        self.model = model
        self.nested: dict[str, ModelReader] = {}
        self.kinds: dict[str, object] = {
            field.name: _kind(hints[field.name]) for field in dataclasses.fields(model)
        }
        self._rows: list[tuple[str, Check, str, object, bool]] = []
        for field in dataclasses.fields(model):
            kind = self.kinds[field.name]
            item = _model_in(kind)
            if item is not None:
                self.nested[field.name] = ModelReader(item)
            check, noun, zero = _KINDS[kind] if item is None else _OBJECT if item is kind else _OBJECTS
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            self._rows.append((field.name, check, noun, zero, required))
        self.names = tuple(row[0] for row in self._rows)

    def read(self, values: Mapping[str, object]) -> Any:
        """Return the model that `values` tell; what is absent, None or zero reads as the model's default.

        Items of other models are told by mappings of their own.

        Raises:
            InvalidArgumentError: A value has the wrong type or is out of range.
        """
        given: dict[str, object] = {}
        for name, check, noun, zero, required in self._rows:
            value = values.get(name)
            if value is None:
                if required:
                    given[name] = zero
            elif not check(value):
                raise InvalidArgumentError(f"{name} must be {noun}, not {_kind_name(value)}")
            elif required or value:
                given[name] = value
        for name, reader in self.nested.items():
            value = given.get(name)
            if isinstance(value, Mapping):
                given[name] = reader.read(value)
            elif isinstance(value, list | tuple):
                given[name] = tuple(map(reader.read, value))
        model: Any = self.model(**given)
        return model


def _kind(hint: object) -> object:
    """Return what a field is on the wire: words are texts, of which a newer peer may send more."""
    words = get_args(hint) or (hint,)
    return str if all(get_origin(word) is Literal or isinstance(word, str) for word in words) else hint


def _model_in(kind: object) -> type[Any] | None:
    """Return the model that a field is, or a tuple of any length holds; None for any other kind of field."""
    item, *more = get_args(kind) or (kind, ...)
    return item if more == [...] and isinstance(item, type) and dataclasses.is_dataclass(item) else None


def _kind_name(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list | tuple):
        return "a list" if _is_text_list(value) else "a list of other things"
    names = {str: "a string", int: "an integer", float: "a fraction", dict: "an object", bytes: "bytes"}
    return names.get(type(value), type(value).__name__)


def answer_name(operation: Operation[Any, Any]) -> str:
    """Return what both specs call the answer of an operation, or each piece of it."""
    name = operation.result.__name__
    return name.removesuffix("Result") + "Response" if name.endswith("Result") else name
