from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="SetNetworkRequest")


@_attrs_define
class SetNetworkRequest:
    """
    Attributes:
        network (str): Network of the sandbox: none or policy.
        network_allow (list[str] | Unset): What a policy lets the sandbox reach, each HOST or HOST:PORT: a name,
            ``*.NAME`` for all below it, * for all, an address or a network such as 10.1.0.0/16. Without a port it is ports
            80 and 443; port * is every port.
        network_deny (list[str] | Unset): What of that it does not reach, in the same form. Without a port it is every
            port.
    """

    network: str
    network_allow: list[str] | Unset = UNSET
    network_deny: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        network = self.network

        network_allow: list[str] | Unset = UNSET
        if not isinstance(self.network_allow, Unset):
            network_allow = self.network_allow

        network_deny: list[str] | Unset = UNSET
        if not isinstance(self.network_deny, Unset):
            network_deny = self.network_deny

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "network": network,
            }
        )
        if network_allow is not UNSET:
            field_dict["network_allow"] = network_allow
        if network_deny is not UNSET:
            field_dict["network_deny"] = network_deny

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        network = d.pop("network")

        network_allow = cast(list[str], d.pop("network_allow", UNSET))

        network_deny = cast(list[str], d.pop("network_deny", UNSET))

        set_network_request = cls(
            network=network,
            network_allow=network_allow,
            network_deny=network_deny,
        )

        set_network_request.additional_properties = d
        return set_network_request

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
