from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="SnapshotInfo")


@_attrs_define
class SnapshotInfo:
    """One snapshot in the store.

    Attributes:
        snapshot_path (str): Path of the snapshot in the orchestrator's store.
        type_ (str): Runtime that made it, and the only one that starts from it.
        image (str): Image that it lies on.
        size_bytes (int): Size of what is kept of it, in bytes.
        created_at (float): When it was made, in seconds of Unix time.
        id (str): ID of the snapshot.
        name (str): Its name; empty for none.
        labels (list[str]): Its labels, each NAME=value.
    """

    snapshot_path: str
    type_: str
    image: str
    size_bytes: int
    created_at: float
    id: str
    name: str
    labels: list[str]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        snapshot_path = self.snapshot_path

        type_ = self.type_

        image = self.image

        size_bytes = self.size_bytes

        created_at = self.created_at

        id = self.id

        name = self.name

        labels = self.labels

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "snapshot_path": snapshot_path,
                "type": type_,
                "image": image,
                "size_bytes": size_bytes,
                "created_at": created_at,
                "id": id,
                "name": name,
                "labels": labels,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        snapshot_path = d.pop("snapshot_path")

        type_ = d.pop("type")

        image = d.pop("image")

        size_bytes = d.pop("size_bytes")

        created_at = d.pop("created_at")

        id = d.pop("id")

        name = d.pop("name")

        labels = cast(list[str], d.pop("labels"))

        snapshot_info = cls(
            snapshot_path=snapshot_path,
            type_=type_,
            image=image,
            size_bytes=size_bytes,
            created_at=created_at,
            id=id,
            name=name,
            labels=labels,
        )

        snapshot_info.additional_properties = d
        return snapshot_info

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
