"""Models beside the generated classes that carry them as JSON over HTTP. Used by both ends."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Container, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, Final, NoReturn, Protocol

import attrs
import flash_sandbox_http.models as generated
from flash_sandbox_http.routes import ROUTES
from flash_sandbox_http.types import UNSET

from ..errors import InvalidArgumentError
from ..operations import Operation
from .fields import ModelReader, answer_name
from .long_values import LONG, put_in, taken_out

__all__ = ["JSONModel", "dump", "generated_name", "load_object", "request_model", "result_model"]

# What older orchestrators expect also where it is empty.
_ALWAYS_SENT: Final = frozenset({"command"})
_NOTHING: Final[Mapping[str, object]] = {}


class Generated(Protocol):
    """What the generated classes have in common."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name; those that are UNSET stay out."""
        ...


class JSONModel:
    """A model of ours beside the generated class that carries (a part of) its fields as JSON.

    Args:
        generated_class: The generated class.
        names: Fields that it carries.
        reader: Reads our model.
    """

    def __init__(self, generated_class: Any, names: tuple[str, ...], reader: ModelReader) -> None:
        known = {attribute.name for attribute in attrs.fields(generated_class)}
        attributes = [generated_name(name, known) for name in names]
        self._generated_class = generated_class
        self._names = names
        # Empty values are left out, but not those that the spec requires.
        required = {each.name for each in attrs.fields(generated_class) if each.default is attrs.NOTHING}
        self._always_sent = _ALWAYS_SENT | required
        self._attributes = tuple(attributes)
        self._values_of: Callable[[Any], Any] = attrgetter(*attributes) if names else _no_values
        self._one = len(names) == 1
        # Generated classes raise KeyError for what is missing; None reads as "not given".
        self._absent: dict[str, object] = dict.fromkeys(names)
        self._reader = reader
        self._binary = tuple(name for name in names if reader.kinds[name] is bytes)
        self._nested = {
            name: JSONModel(getattr(generated, item.model.__name__), item.names, item)
            for name, item in reader.nested.items()
            if name in names
        }

    def encode(self, model: object) -> bytes:
        """Return a model as JSON, with all of its fields."""
        binary = () if self._nested else self._binary
        long = {name: value for name in binary if len(value := getattr(model, name)) >= LONG}
        return put_in(dump(self._generated_class(**self._arguments(model, without=long))), long)

    def message(self, model: object) -> Generated:
        """Return a model as the generated class has it; empty values stay out, but not required ones."""
        given = {
            name: value if value or name in self._always_sent else UNSET
            for name, value in self._arguments(model).items()
        }
        message: Generated = self._generated_class(**given)
        return message

    def _arguments(self, model: object, without: Container[str] = ()) -> dict[str, Any]:
        given: dict[str, Any] = {
            attribute: list(value) if isinstance(value := getattr(model, name), tuple) else value
            for name, attribute in zip(self._names, self._attributes, strict=True)
        }
        for name in self._binary:
            value = b"" if name in without else given[name]
            given[name] = base64.b64encode(value).decode("ascii")
        for name, item in self._nested.items():
            value = given[name]
            many = isinstance(value, list)
            given[name] = [item._nest(each) for each in value] if many else item._nest(value)
        return given

    def _nest(self, model: object) -> object:
        return self._generated_class(**self._arguments(model))

    def load(self, line: bytes) -> tuple[dict[str, object], dict[str, object]]:
        """Return the fields of an object and, apart from them, a binary one that is long, decoded."""
        if len(line) >= LONG and len(self._binary) == 1:
            (name,) = self._binary
            apart = taken_out(line, name)
            if apart is not None:
                short, text = apart
                return load_object(short), {name: _bytes_of(name, text)}
        return load_object(line), {}

    def decode(self, found: dict[str, object], more: Mapping[str, object] = _NOTHING, *, nulls: bool) -> Any:
        """Return the model that an object tells, and `more`, fields that came apart from it.

        Raises:
            InvalidArgumentError: A value has the wrong type or is out of range, or null without `nulls`.
        """
        payload = self.complete(found, nulls=nulls)
        try:
            message = self._generated_class.from_dict(payload)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidArgumentError(f"body does not fit: {error}") from error
        return self.read(message, more)

    def read(self, message: object, more: Mapping[str, object] = _NOTHING) -> Any:
        """Return the model that a generated one tells, and `more`, fields that came apart from it.

        Raises:
            InvalidArgumentError: A value has the wrong type or is out of range.
        """
        fields = self._fields(message)
        return self._reader.read({**fields, **more} if more else fields)

    def complete(self, payload: dict[str, Any], *, nulls: bool) -> dict[str, Any]:
        """Return what came with what it lacks, as the generated class must have it.

        Raises:
            InvalidArgumentError: A value has the wrong type, or is null without `nulls`.
        """
        if not nulls:
            for name in self._names:
                if payload.get(name, name) is None:
                    raise InvalidArgumentError(f"{name} must not be null")
        completed = self._absent | payload
        for name, item in self._nested.items():
            completed[name] = self._completed_part(name, item, completed[name], nulls)
        return completed

    def _completed_part(self, name: str, item: JSONModel, value: object, nulls: bool) -> object:
        if self._reader.kinds[name] is item._reader.model:
            if not isinstance(value, dict | None):
                raise InvalidArgumentError(f"{name} must be an object")
            return item.complete(value or {}, nulls=nulls)
        items = [] if value is None else value
        if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
            raise InvalidArgumentError(f"{name} must be a list of objects")
        return [item.complete(each, nulls=nulls) for each in items]

    def _fields(self, message: object) -> dict[str, Any]:
        values = self._values_of(message)
        fields = {self._names[0]: values} if self._one else dict(zip(self._names, values, strict=True))
        for name, item in self._nested.items():
            value = fields[name]
            many = isinstance(value, list)
            fields[name] = [item._fields(each) for each in value] if many else item._fields(value)
        for name in self._binary:
            if isinstance(fields[name], str):
                fields[name] = _bytes_of(name, fields[name])
        return fields


def _bytes_of(name: str, text: str | memoryview) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgumentError(f"{name} is not base64: {error}") from error


def _no_values(_: object) -> tuple[()]:
    return ()


def generated_name(name: str, known: Container[str]) -> str:
    """Return what the generator calls a field or parameter: it appends "_" where Python reserves the name."""
    return name if name in known else name + "_"


@cache
def request_model(operation: Operation[Any, Any]) -> JSONModel | None:
    """Return what reads and writes the body of a request; None where that is no JSON."""
    route = ROUTES[operation.name]
    if route.body != "json":
        return None
    negated = dict(route.negated_params)
    elsewhere = {*route.path_params, *(negated.get(name, name) for name in route.query_params)}
    reader = ModelReader(operation.request)
    names = tuple(name for name in reader.names if name not in elsewhere)
    return JSONModel(getattr(generated, operation.request.__name__), names, reader)


@cache
def result_model(operation: Operation[Any, Any]) -> JSONModel | None:
    """Return what reads and writes an answer, or a line of a stream; None where that is no JSON."""
    if ROUTES[operation.name].answer not in ("json", "frames"):
        return None
    reader = ModelReader(operation.result)
    return JSONModel(getattr(generated, answer_name(operation)), reader.names, reader)


def dump(message: Generated) -> bytes:
    """Return a message as JSON, without spaces."""
    text = json.dumps(message.to_dict(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Only the text of an error can hold a lone surrogate: models refuse it.
    return text.encode("utf-8", "replace")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def load_object(body: bytes) -> dict[str, object]:
    """Return the object that a JSON text is.

    Raises:
        InvalidArgumentError: It is no JSON, or no object.
    """
    try:
        payload = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"body is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise InvalidArgumentError("body is not a JSON object")
    return payload
