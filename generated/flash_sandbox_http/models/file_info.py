from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="FileInfo")


@_attrs_define
class FileInfo:
    """What is at a path.

    Attributes:
        name (str): Path where it is, or in a directory's list its name.
        type_ (str): Its kind: file, directory, symlink, fifo, socket, char_device or block_device.
        size (int): Size in bytes.
        mode (int): Permissions, as a number: octal 644 is 420.
        uid (int): Number of the user that owns it.
        gid (int): Number of the group that owns it.
        modified_at (float): When it was last changed, in seconds of Unix time.
        link_target (str): Where a link leads; empty for all else.
    """

    name: str
    type_: str
    size: int
    mode: int
    uid: int
    gid: int
    modified_at: float
    link_target: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        type_ = self.type_

        size = self.size

        mode = self.mode

        uid = self.uid

        gid = self.gid

        modified_at = self.modified_at

        link_target = self.link_target

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "type": type_,
                "size": size,
                "mode": mode,
                "uid": uid,
                "gid": gid,
                "modified_at": modified_at,
                "link_target": link_target,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        name = d.pop("name")

        type_ = d.pop("type")

        size = d.pop("size")

        mode = d.pop("mode")

        uid = d.pop("uid")

        gid = d.pop("gid")

        modified_at = d.pop("modified_at")

        link_target = d.pop("link_target")

        file_info = cls(
            name=name,
            type_=type_,
            size=size,
            mode=mode,
            uid=uid,
            gid=gid,
            modified_at=modified_at,
            link_target=link_target,
        )

        file_info.additional_properties = d
        return file_info

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
