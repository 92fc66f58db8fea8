from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Event")


@_attrs_define
class Event:
    """Something that happened to a sandbox.

    Attributes:
        type_ (str): What happened: watching (first of all: the token is where this begins), created, running, paused,
            stopped, expiring (soon), expired, idle, out_of_memory, failed, removed, port_opened and port_closed (as
            list_ports found), or keepalive (nothing for a while).
        id (str): ID of the sandbox; empty for watching and keepalive.
        token (str): What goes on after this event.
        at (float): When it happened, in seconds of Unix time.
        detail (str): More about it, in words.
    """

    type_: str
    id: str
    token: str
    at: float
    detail: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        type_ = self.type_

        id = self.id

        token = self.token

        at = self.at

        detail = self.detail

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "type": type_,
                "id": id,
                "token": token,
                "at": at,
                "detail": detail,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        type_ = d.pop("type")

        id = d.pop("id")

        token = d.pop("token")

        at = d.pop("at")

        detail = d.pop("detail")

        event = cls(
            type_=type_,
            id=id,
            token=token,
            at=at,
            detail=detail,
        )

        event.additional_properties = d
        return event

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
