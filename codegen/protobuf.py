"""Reads specs/sandbox.proto as protoc understands it: the vocabulary in it, with lines and comments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from betterproto2_compiler.lib.google.protobuf import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FieldDescriptorProtoLabel,
    FieldDescriptorProtoType,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from .layers import descriptor_set
from .vocabulary import Field, Message, Operation, Place, SpecError, Vocabulary, fold

__all__ = ["PATH", "load", "snake_case"]

PATH: Final = Path("specs/sandbox.proto")

# Field numbers of descriptor.proto: a location is a path of them (SourceCodeInfo.Location.path).
_MESSAGE, _SERVICE, _METHOD, _FIELD = 4, 6, 2, 2


class _Source:
    """Line and comment of each element."""

    def __init__(self, file: FileDescriptorProto) -> None:
        locations = file.source_code_info.location if file.source_code_info else []
        self._locations = {tuple(location.path): location for location in locations}

    def place(self, *path: int) -> Place:
        location = self._locations.get(path)
        return Place(str(PATH), location.span[0] + 1 if location else 1)

    def doc(self, *path: int) -> str:
        location = self._locations.get(path)
        return fold(location.leading_comments) if location else ""


def load(root: Path) -> Vocabulary:
    """Read specs/sandbox.proto under `root`.

    The vocabulary's name is the package and the service, as in the path of a gRPC call.

    Raises:
        SpecError: It has what the project has no rule for.
        tools.ToolError: protoc failed or warned.
    """
    (file,) = FileDescriptorSet.parse(descriptor_set(root)).file
    source = _Source(file)
    if len(file.service) != 1:
        raise SpecError(f"{PATH}: needs exactly one service, has {len(file.service)}")
    enums = {f".{file.package}.{enum.name}": _values(enum) for enum in file.enum_type}
    messages = {
        message.name: _message(source, message, index, enums)
        for index, message in enumerate(file.message_type)
    }
    operations = [
        _operation(source, method, index, messages) for index, method in enumerate(file.service[0].method)
    ]
    return Vocabulary(
        name=f"{file.package}.{file.service[0].name}",
        place=source.place(_SERVICE, 0),
        doc=source.doc(_SERVICE, 0),
        operations={operation.name: operation for operation in operations},
        messages=messages,
    )


def _message(
    source: _Source, message: DescriptorProto, index: int, enums: Mapping[str, tuple[str, ...]]
) -> Message:
    at = (_MESSAGE, index)
    if message.nested_type or message.enum_type:
        raise SpecError(
            f"{source.place(*at)}: {message.name} nests a type or has a map; there is no rule for it"
        )
    fields = [
        _field(source, field, (*at, _FIELD, number), enums) for number, field in enumerate(message.field)
    ]
    # The end of a reserved range is exclusive in a message (descriptor.proto, ReservedRange).
    reserved = (range(one.start, one.end) for one in message.reserved_range)
    return Message(
        name=message.name,
        place=source.place(*at),
        doc=source.doc(*at),
        fields={field.name: field for field in fields},
        reserved=frozenset(number for numbers in reserved for number in numbers),
    )


def _field(
    source: _Source, field: FieldDescriptorProto, at: Sequence[int], enums: Mapping[str, tuple[str, ...]]
) -> Field:
    kind = (FieldDescriptorProtoType(field.type).name or "").removeprefix("TYPE_").lower()
    return Field(
        name=field.name,
        type=field.type_name.rpartition(".")[2] if kind == "message" else kind,
        place=source.place(*at),
        doc=source.doc(*at),
        repeated=field.label == FieldDescriptorProtoLabel.REPEATED,
        optional=field.proto3_optional,
        values=enums.get(field.type_name, ()),
        number=field.number,
    )


def _values(enum: EnumDescriptorProto) -> tuple[str, ...]:
    prefix = snake_case(enum.name) + "_"
    names = (value.name.lower().removeprefix(prefix) for value in enum.value)
    return tuple(name for name in names if name != "unspecified")


def _operation(
    source: _Source, method: MethodDescriptorProto, index: int, messages: Mapping[str, Message]
) -> Operation:
    at = (_SERVICE, 0, _METHOD, index)
    if method.client_streaming and method.server_streaming:
        raise SpecError(f"{source.place(*at)}: {method.name} streams both ways; HTTP/1.1 does not")
    return Operation(
        name=snake_case(method.name),
        place=source.place(*at),
        doc=source.doc(*at),
        request=messages[method.input_type.rpartition(".")[2]],
        response=messages[method.output_type.rpartition(".")[2]],
        rpc=method.name,
        streams="request" if method.client_streaming else "response" if method.server_streaming else "",
    )


def snake_case(name: str) -> str:
    """Return ``StartSandbox`` as ``start_sandbox``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
