from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="WriteFileRequest")


@_attrs_define
class WriteFileRequest:
    """
    Attributes:
        path (str): Path of the file in the sandbox, absolute. A link at its end is replaced, not followed.
        content (str): What the file is to hold, at most 8 MiB; upload_archive takes files of any size.
        mode (int | Unset): Permissions of the file, at most 4095 (octal 7777). 0 keeps those of the file that is
            replaced, or is octal 644 for a new one. Its owner is kept where whoever writes may. Default: 0.
        parents (bool | Unset): Whether to make the directories that the path lacks. Default: False.
    """

    path: str
    content: str
    mode: int | Unset = 0
    parents: bool | Unset = False
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        path = self.path

        content = self.content

        mode = self.mode

        parents = self.parents

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "path": path,
                "content": content,
            }
        )
        if mode is not UNSET:
            field_dict["mode"] = mode
        if parents is not UNSET:
            field_dict["parents"] = parents

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        path = d.pop("path")

        content = d.pop("content")

        mode = d.pop("mode", UNSET)

        parents = d.pop("parents", UNSET)

        write_file_request = cls(
            path=path,
            content=content,
            mode=mode,
            parents=parents,
        )

        write_file_request.additional_properties = d
        return write_file_request

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
