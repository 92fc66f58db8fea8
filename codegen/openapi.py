"""Reads specs/openapi.yaml: the vocabulary in it, with lines, and its table of routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from .vocabulary import Field, Message, Operation, Place, Route, SpecError, Vocabulary, Word, fold

__all__ = ["PATH", "document_of", "load", "routes_module"]

PATH: Final = Path("specs/openapi.yaml")

_METHODS: Final = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_JSON: Final = "application/json"
_FRAMES: Final = "application/x-ndjson"
_BYTES: Final = "application/octet-stream"
_KINDS: Final = {_JSON: "json", _FRAMES: "frames", _BYTES: "bytes"}
# Fields of what is streamed as plain bytes over HTTP; gRPC needs a message around them.
_STREAMED: Final = "x-streamed"
_ITEM: Final = "x-item-schema"
_NEGATES: Final = "x-negates"
_OPPOSITE: Final = "x-opposite"
_WORDS: Final = "x-words"
_TYPES: Final = {
    ("string", ""): "string",
    ("string", "byte"): "bytes",
    ("boolean", ""): "bool",
    ("integer", "int32"): "int32",
    ("integer", "int64"): "int64",
    ("integer", "uint32"): "uint32",
    ("integer", "uint64"): "uint64",
    ("number", "float"): "float",
    ("number", "double"): "double",
}
_ZERO: Final = ("", 0, False)

# A step in the document: the name of a key or the index of an item.
Step = str | int


class _Document:
    """A YAML document with the line of each of its nodes; `$ref` within it is followed."""

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[Step, ...], int] = {}
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            self._data = self._build(loader, node, ())
        except yaml.YAMLError as error:
            raise SpecError(f"{PATH} is not YAML: {error}") from error
        finally:
            loader.dispose()

    def _build(self, loader: yaml.SafeLoader, node: yaml.Node | None, path: tuple[Step, ...]) -> Any:
        if node is None:
            return {}
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(loader, item, (*path, index)) for index, item in enumerate(node.value)]
        return loader.construct_object(node)  # type: ignore[no-untyped-call, unused-ignore]

    def _mapping(self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: tuple[Step, ...]) -> Any:
        result: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            line = key.start_mark.line + 1
            if name in result:
                raise SpecError(f"{PATH}:{line}: {name} is given twice")
            self._lines[(*path, name)] = line
            result[name] = self._build(loader, value, (*path, name))
        return result

    def place(self, *path: Step) -> Place:
        return Place(str(PATH), self._lines.get(path, 1))

    def follow(self, *path: Step) -> tuple[tuple[Step, ...], Any]:
        """Return where `path` leads once references are followed, and what is there."""
        value: Any = self._data
        for step in path:
            value = value[step]
        if isinstance(value, dict) and "$ref" in value:
            reference = str(value["$ref"])
            if not reference.startswith("#/"):
                raise SpecError(f"{self.place(*path)}: reference {reference} leaves the document")
            try:
                return self.follow(*reference.removeprefix("#/").split("/"))
            except (KeyError, TypeError):
                raise SpecError(f"{self.place(*path)}: reference {reference} leads nowhere") from None
        return path, value


def document_of(root: Path) -> Any:
    """Return specs/openapi.yaml under `root` as it is, which `load` reads."""
    return yaml.safe_load((root / PATH).read_text(encoding="utf-8"))


def load(root: Path) -> Vocabulary:
    """Read specs/openapi.yaml under `root`.

    Raises:
        SpecError: It is not YAML, or has what the project has no rule for.
    """
    document = _Document((root / PATH).read_text(encoding="utf-8"))
    _, info = document.follow("info")
    _, schemas = document.follow("components", "schemas")
    _, everything = document.follow()
    return Vocabulary(
        name=str(info["title"]),
        place=document.place("info"),
        doc=fold(info.get("description", "")),
        operations={operation.name: operation for operation in _operations(document)},
        messages={name: _message(document, "components", "schemas", name) for name in schemas},
        words=tuple(
            Word(name, fold(word["description"]), tuple(word["values"]), word.get("constant", ""))
            for name, word in everything.get(_WORDS, {}).items()
        ),
    )


def _operations(document: _Document) -> Iterator[Operation]:
    _, paths = document.follow("paths")
    for path, item in paths.items():
        for method in (name for name in _METHODS if name in item):
            yield _operation(document, path, method)


def _operation(document: _Document, path: str, method: str) -> Operation:
    at = ("paths", path, method)
    _, spec = document.follow(*at)
    place = document.place(*at)
    parameters = list(_parameters(document, path, method))
    body, asked = ("", Message("", place))
    if "requestBody" in spec:
        body, asked = _content(document, *at, "requestBody")
    status, answer, response = _success(document, *at)
    _require_error_schema(document, *at)
    given = {parameter.name: parameter for _, parameter in parameters}
    streams = "request" if body == "bytes" else "response" if answer in ("frames", "bytes") else ""
    return Operation(
        name=spec["operationId"],
        place=place,
        doc=fold(spec.get("summary", "")),
        request=Message(asked.name, asked.place, asked.doc, given | asked.fields),
        response=response,
        streams=streams,
        idempotent=bool(spec.get("x-idempotent")),
        keyed=bool(spec.get("x-idempotency-key")),
        outlasts=bool(spec.get("x-outlasts")),
        last=tuple(spec.get("x-last", ())),
        details=fold(spec.get("description", "")),
        raises={name: fold(text) for name, text in spec.get("x-raises", {}).items()},
        returns=spec.get("x-returns", ""),
        lists=bool(spec.get("x-list")),
        bounded=bool(spec.get("x-bounded")),
        route=Route(
            method=method.upper(),
            path=path,
            path_params=tuple(re.findall(r"\{(\w+)\}", path)),
            query_params=tuple(name for (where, name), _ in parameters if where == "query"),
            negated_params=tuple(
                (name, parameter.name) for (_, name), parameter in parameters if name != parameter.name
            ),
            body=body,
            answer=answer,
            success_status=status,
            secured=bool(spec.get("security", document.follow()[1].get("security", []))),
        ),
    )


def _parameters(document: _Document, path: str, method: str) -> Iterator[tuple[tuple[str, str], Field]]:
    """Yield where each parameter is, its name there, and the field that it is."""
    for at in (("paths", path), ("paths", path, method)):
        _, item = document.follow(*at)
        for index in range(len(item.get("parameters", ()))):
            there, parameter = document.follow(*at, "parameters", index)
            field = _field(document, parameter["name"], *there, "schema")
            doc = fold(parameter.get("description", ""))
            told = replace(
                field, doc=doc, place=document.place(*there), required=bool(parameter.get("required"))
            )
            if _OPPOSITE in parameter:
                opposite = parameter[_OPPOSITE]
                told = replace(told, opposite=(opposite["name"], opposite["description"]))
            # A published parameter may say the opposite of the field.
            negated = parameter.get(_NEGATES)
            if negated:
                opposite = (field.name, doc)
                doc = fold(negated["description"])
                told = replace(told, name=negated["field"], doc=doc, opposite=opposite)
            yield (parameter["in"], field.name), told


def _success(document: _Document, *at: Step) -> tuple[int, str, Message]:
    _, responses = document.follow(*at, "responses")
    found = [code for code in responses if code.startswith("2")]
    if len(found) != 1:
        raise SpecError(f"{document.place(*at)}: needs exactly one 2xx answer, has {len(found)}")
    _, response = document.follow(*at, "responses", found[0])
    if "content" not in response:
        return int(found[0]), "", Message("", document.place(*at, "responses", found[0]))
    return int(found[0]), *_content(document, *at, "responses", found[0])


def _require_error_schema(document: _Document, *at: Step) -> None:
    _, responses = document.follow(*at, "responses")
    if "default" not in responses:
        raise SpecError(f"{document.place(*at)}: has no default answer, so its failures have no schema")
    for code in (code for code in responses if not code.startswith("2")):
        _, message = _content(document, *at, "responses", code)
        if message.name != "Error":
            place = document.place(*at, "responses", code)
            raise SpecError(f"{place}: answer {code} must have the schema Error, not {message.name}")


def _content(document: _Document, *at: Step) -> tuple[str, Message]:
    """Return how a body is sent (``json``, ``frames``: a line of JSON each, or ``bytes``), and what it is."""
    there, holder = document.follow(*at)
    content = list(holder.get("content", {}))
    if len(content) != 1 or content[0] not in _KINDS:
        raise SpecError(f"{document.place(*at)}: content must be one of {', '.join(_KINDS)}, not {content}")
    media = content[0]
    place = (*there, "content", media)
    if media == _JSON:
        return _KINDS[media], _message(document, *place, "schema")
    if media == _FRAMES:
        return _KINDS[media], _message(document, *place, _ITEM)
    return _KINDS[media], _streamed(document, *place)


def _streamed(document: _Document, *at: Step) -> Message:
    _, media = document.follow(*at)
    described = media.get(_STREAMED)
    if not described:
        raise SpecError(f"{document.place(*at)}: {_BYTES} needs {_STREAMED}: name, field and description")
    place = document.place(*at, _STREAMED)
    field = Field(described["field"], "bytes", place, doc=fold(described["description"]), required=True)
    return Message(described["name"], place, "", {field.name: field})


def _message(document: _Document, *at: Step) -> Message:
    there, schema = document.follow(*at)
    if there[:2] != ("components", "schemas"):
        raise SpecError(f"{document.place(*at)}: a body needs a schema with a name")
    name = str(there[2])
    if schema.get("type") != "object":
        raise SpecError(f"{document.place(*there)}: schema {name} must have the type object")
    required = schema.get("required", [])
    properties = schema.get("properties", {})
    for missing in set(required) - set(properties):
        raise SpecError(f"{document.place(*there)}: {name} requires {missing}, which it does not describe")
    fields = {
        key: replace(_field(document, key, *there, "properties", key), required=key in required)
        for key in properties
    }
    _require_zero_defaults(document, properties, set(required), *there, "properties")
    doc = fold(schema.get("description", ""))
    return Message(name, document.place(*there), doc, fields, extends=schema.get("x-extends", ""))


def _require_zero_defaults(
    document: _Document, properties: dict[str, Any], required: set[str], *at: Step
) -> None:
    # gRPC does not carry a zero value, so a default that is not zero would mean something else there.
    for name, spec in properties.items():
        default = spec.get("default", "")
        if default not in _ZERO or (name in required and "default" in spec):
            raise SpecError(
                f"{document.place(*at, name)}: default of {name} must be the zero value, "
                "and only of a field that is not required"
            )


def _field(document: _Document, name: str, *at: Step) -> Field:
    there, schema = document.follow(*at)
    repeated = schema.get("type") == "array"
    item_at, item = document.follow(*there, "items") if repeated else (there, schema)
    kinds = item.get("type", "")
    names = [kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"]
    kind = names[0] if len(names) == 1 else ""
    values = tuple(str(value) for value in item.get("enum", ()))
    return Field(
        name=name,
        type="enum" if values else _type(document, kind, item.get("format", ""), item_at),
        place=document.place(*at),
        doc=fold(schema.get("description", "")),
        repeated=repeated,
        optional=isinstance(kinds, list) and "null" in kinds,
        values=values,
        schema=schema,
    )


def _type(document: _Document, kind: str, format_: str, at: tuple[Step, ...]) -> str:
    if kind == "object" and at[:2] == ("components", "schemas") and len(at) == 3:
        return str(at[2])
    try:
        return _TYPES[kind, format_]
    except KeyError:
        raise SpecError(f"{document.place(*at)}: no rule for type {kind!r} with format {format_!r}") from None


def routes_module(vocabulary: Vocabulary) -> str:
    """Return the source of `flash_sandbox_http.routes`: every route by operationId."""
    rows = [
        f"    {name!r}: {operation.route!r},\n"
        for name, operation in vocabulary.operations.items()
        if operation.route is not None
    ]
    return _ROUTES_HEAD + "ROUTES: Final[dict[str, Route]] = {\n" + "".join(rows) + "}\n" + _ROUTES_TAIL


_ROUTES_HEAD: Final = '''\
"""How each operation of specs/openapi.yaml is called. Generated; do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ROUTES", "Route"]


@dataclass(frozen=True, slots=True)
class Route:
    """How an operation is called.

    Attributes:
        method: HTTP method in capitals.
        path: Path with its parameters in braces, such as ``/sandboxes/{id}``.
        path_params: Names of the parameters in the path, in its order.
        query_params: Names of the parameters in the query.
        negated_params: Parameters that say the opposite of a field, each with the name of that.
        body: What the request carries: ``json``, ``bytes``, or empty for nothing.
        answer: What the answer carries: ``json``, ``frames`` (a line of JSON each), ``bytes``, or empty.
        success_status: Status of a successful answer; 204 where it has no body.
        secured: Whether the API key is needed, where the orchestrator has one.
    """

    method: str
    path: str
    path_params: tuple[str, ...]
    query_params: tuple[str, ...]
    negated_params: tuple[tuple[str, str], ...]
    body: str
    answer: str
    success_status: int
    secured: bool


'''
_ROUTES_TAIL: Final = '"""Every route by operationId."""\n'
