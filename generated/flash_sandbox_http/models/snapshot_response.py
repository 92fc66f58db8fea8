from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="SnapshotResponse")


@_attrs_define
class SnapshotResponse:
    """A snapshot that was made.

    Attributes:
        snapshot_path (str): Path of the snapshot in the orchestrator's store.
        mem_file_path (str): Path of the memory file; empty where memory is not captured.
        id (str): ID of the snapshot.
        name (str): Its name; empty for none.
        labels (list[str]): Its labels, each NAME=value.
        size_bytes (int): Size of what is kept of it, in bytes.
    """

    snapshot_path: str
    mem_file_path: str
    id: str
    name: str
    labels: list[str]
    size_bytes: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        snapshot_path = self.snapshot_path

        mem_file_path = self.mem_file_path

        id = self.id

        name = self.name

        labels = self.labels

        size_bytes = self.size_bytes

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "snapshot_path": snapshot_path,
                "mem_file_path": mem_file_path,
                "id": id,
                "name": name,
                "labels": labels,
                "size_bytes": size_bytes,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        snapshot_path = d.pop("snapshot_path")

        mem_file_path = d.pop("mem_file_path")

        id = d.pop("id")

        name = d.pop("name")

        labels = cast(list[str], d.pop("labels"))

        size_bytes = d.pop("size_bytes")

        snapshot_response = cls(
            snapshot_path=snapshot_path,
            mem_file_path=mem_file_path,
            id=id,
            name=name,
            labels=labels,
            size_bytes=size_bytes,
        )

        snapshot_response.additional_properties = d
        return snapshot_response

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
