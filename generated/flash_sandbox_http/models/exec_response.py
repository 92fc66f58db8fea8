from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ExecResponse")


@_attrs_define
class ExecResponse:
    """
    Attributes:
        stdout (str): Standard output as text; bytes that are not UTF-8 are replaced by U+FFFD.
        stderr (str): Standard error as text; bytes that are not UTF-8 are replaced by U+FFFD.
        exit_code (int): Exit status of the command; 128 + N where signal N ended it, 127 where it was not found, 126
            where it could not be run.
        stdout_dropped (int): Bytes of standard output that were dropped because they exceeded what is kept.
        stderr_dropped (int): Bytes of standard error that were dropped because they exceeded what is kept.
    """

    stdout: str
    stderr: str
    exit_code: int
    stdout_dropped: int
    stderr_dropped: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        stdout = self.stdout

        stderr = self.stderr

        exit_code = self.exit_code

        stdout_dropped = self.stdout_dropped

        stderr_dropped = self.stderr_dropped

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "stdout": stdout,
                "stderr": stderr,
                "exit_code": exit_code,
                "stdout_dropped": stdout_dropped,
                "stderr_dropped": stderr_dropped,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        stdout = d.pop("stdout")

        stderr = d.pop("stderr")

        exit_code = d.pop("exit_code")

        stdout_dropped = d.pop("stdout_dropped")

        stderr_dropped = d.pop("stderr_dropped")

        exec_response = cls(
            stdout=stdout,
            stderr=stderr,
            exit_code=exit_code,
            stdout_dropped=stdout_dropped,
            stderr_dropped=stderr_dropped,
        )

        exec_response.additional_properties = d
        return exec_response

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
