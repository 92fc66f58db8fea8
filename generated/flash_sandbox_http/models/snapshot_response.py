from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="SnapshotResponse")


@_attrs_define
class SnapshotResponse:
    """Where a snapshot lies.

    Attributes:
        snapshot_path (str): Path of the snapshot in the orchestrator's store.
        mem_file_path (str): Path of the memory file; empty where memory is not captured.
    """

    snapshot_path: str
    mem_file_path: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        snapshot_path = self.snapshot_path

        mem_file_path = self.mem_file_path

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "snapshot_path": snapshot_path,
                "mem_file_path": mem_file_path,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        snapshot_path = d.pop("snapshot_path")

        mem_file_path = d.pop("mem_file_path")

        snapshot_response = cls(
            snapshot_path=snapshot_path,
            mem_file_path=mem_file_path,
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
