from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="MetricsResponse")


@_attrs_define
class MetricsResponse:
    """What a sandbox uses at one moment.

    Attributes:
        memory_usage_bytes (int): Memory in use, in bytes, without file cache that the kernel can drop at once.
        memory_limit_bytes (int): Memory limit in bytes; 0 where none is enforced.
        memory_percent (float): Memory in use as a percentage of the limit; 0 where none is enforced.
        cpu_percent (float): CPU time used since the reading before (since the start, for the first), as a percentage of
            one core.
        pids_current (int): Processes and threads in the sandbox.
        net_rx_bytes (int): Bytes received over the sandbox's network interfaces, loopback left out.
        net_tx_bytes (int): Bytes sent over the sandbox's network interfaces, loopback left out.
        block_read_bytes (int): Bytes read from block devices.
        block_write_bytes (int): Bytes written to block devices.
        disk_used_bytes (int): Bytes that what it has written takes, where its start gave disk_mb; 0 for all others.
        disk_limit_bytes (int): Bytes that it may have written, a few per cent less than disk_mb says where its file
            system needs some itself; 0 where that is not limited.
    """

    memory_usage_bytes: int
    memory_limit_bytes: int
    memory_percent: float
    cpu_percent: float
    pids_current: int
    net_rx_bytes: int
    net_tx_bytes: int
    block_read_bytes: int
    block_write_bytes: int
    disk_used_bytes: int
    disk_limit_bytes: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        memory_usage_bytes = self.memory_usage_bytes

        memory_limit_bytes = self.memory_limit_bytes

        memory_percent = self.memory_percent

        cpu_percent = self.cpu_percent

        pids_current = self.pids_current

        net_rx_bytes = self.net_rx_bytes

        net_tx_bytes = self.net_tx_bytes

        block_read_bytes = self.block_read_bytes

        block_write_bytes = self.block_write_bytes

        disk_used_bytes = self.disk_used_bytes

        disk_limit_bytes = self.disk_limit_bytes

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "memory_usage_bytes": memory_usage_bytes,
                "memory_limit_bytes": memory_limit_bytes,
                "memory_percent": memory_percent,
                "cpu_percent": cpu_percent,
                "pids_current": pids_current,
                "net_rx_bytes": net_rx_bytes,
                "net_tx_bytes": net_tx_bytes,
                "block_read_bytes": block_read_bytes,
                "block_write_bytes": block_write_bytes,
                "disk_used_bytes": disk_used_bytes,
                "disk_limit_bytes": disk_limit_bytes,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        memory_usage_bytes = d.pop("memory_usage_bytes")

        memory_limit_bytes = d.pop("memory_limit_bytes")

        memory_percent = d.pop("memory_percent")

        cpu_percent = d.pop("cpu_percent")

        pids_current = d.pop("pids_current")

        net_rx_bytes = d.pop("net_rx_bytes")

        net_tx_bytes = d.pop("net_tx_bytes")

        block_read_bytes = d.pop("block_read_bytes")

        block_write_bytes = d.pop("block_write_bytes")

        disk_used_bytes = d.pop("disk_used_bytes")

        disk_limit_bytes = d.pop("disk_limit_bytes")

        metrics_response = cls(
            memory_usage_bytes=memory_usage_bytes,
            memory_limit_bytes=memory_limit_bytes,
            memory_percent=memory_percent,
            cpu_percent=cpu_percent,
            pids_current=pids_current,
            net_rx_bytes=net_rx_bytes,
            net_tx_bytes=net_tx_bytes,
            block_read_bytes=block_read_bytes,
            block_write_bytes=block_write_bytes,
            disk_used_bytes=disk_used_bytes,
            disk_limit_bytes=disk_limit_bytes,
        )

        metrics_response.additional_properties = d
        return metrics_response

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
