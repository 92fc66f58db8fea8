from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="MakeDirRequest")


@_attrs_define
class MakeDirRequest:
    """
    Attributes:
        path (str): Path of the directory in the sandbox, absolute.
        mode (int | Unset): Permissions of the directory, at most 4095 (octal 7777). 0 is octal 755. Default: 0.
        parents (bool | Unset): Whether to make the directories that the path lacks, and to leave one that is there.
            Default: False.
    """

    path: str
    mode: int | Unset = 0
    parents: bool | Unset = False
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        path = self.path

        mode = self.mode

        parents = self.parents

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "path": path,
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

        mode = d.pop("mode", UNSET)

        parents = d.pop("parents", UNSET)

        make_dir_request = cls(
            path=path,
            mode=mode,
            parents=parents,
        )

        make_dir_request.additional_properties = d
        return make_dir_request

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
