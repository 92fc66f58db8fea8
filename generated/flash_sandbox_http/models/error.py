from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Error")


@_attrs_define
class Error:
    """What every failed call answers: in the status details of gRPC, in the body of HTTP.

    Attributes:
        detail (str): Cause of the failure in words.
        reason (str): Cause of the failure as a stable, machine-readable name.
        request_id (str): ID of the failed request, as the orchestrator's log has it.
        retryable (bool): Whether the same call may succeed when it is repeated later.
    """

    detail: str
    reason: str
    request_id: str
    retryable: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        detail = self.detail

        reason = self.reason

        request_id = self.request_id

        retryable = self.retryable

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "detail": detail,
                "reason": reason,
                "request_id": request_id,
                "retryable": retryable,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        detail = d.pop("detail")

        reason = d.pop("reason")

        request_id = d.pop("request_id")

        retryable = d.pop("retryable")

        error = cls(
            detail=detail,
            reason=reason,
            request_id=request_id,
            retryable=retryable,
        )

        error.additional_properties = d
        return error

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
