"""The numbers of the guest agent's protocol, as a header for its C code."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from betterproto2_compiler.lib.google.protobuf import FileDescriptorSet

from .layers import descriptor_set
from .protobuf import snake_case

__all__ = ["PATH", "guest_header"]

PATH: Final = Path("guest/protocol.h")


def guest_header(root: Path) -> dict[Path, bytes]:
    """Generate the header from specs/guest.proto under `root`: an enumeration for each message and enum.

    Raises:
        tools.ToolError: protoc failed or warned.
    """
    (file,) = FileDescriptorSet.parse(descriptor_set(root, "guest.proto")).file
    lines = [
        "/* Generated from specs/guest.proto by `python -m codegen`: numbers of fields and values. */",
        "#ifndef PROTOCOL_H",
        "#define PROTOCOL_H",
    ]
    for message in file.message_type:
        prefix = snake_case(message.name).upper()
        fields = [f"    {prefix}_{field.name.upper()} = {field.number}," for field in message.field]
        if fields:
            lines += ["", "enum {", *fields, "};"]
    for enum in file.enum_type:
        values = [f"    {value.name} = {value.number}," for value in enum.value]
        lines += ["", f"enum {snake_case(enum.name)} {{", *values, "};"]
    return {PATH: "\n".join([*lines, "", "#endif", ""]).encode()}
