from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="ExecRequest")


@_attrs_define
class ExecRequest:
    """
    Attributes:
        command (list[str]): Command and its arguments. The first element is a path, or a name looked up in the
            sandbox's PATH.
        env (list[str] | Unset): Variables that the command has besides the sandbox's own, each NAME=value.
        cwd (str | Unset): Directory in the sandbox to run in, absolute. Empty is the sandbox's own. Default: ''.
        user (str | Unset): User to run as: a name, UID or UID:GID; which can be given depends on the runtime. Empty is
            the main process's. Default: ''.
        stdin (str | Unset): Input of the command, at most 8 MiB. Default: ''.
        timeout_ms (int | Unset): Milliseconds after which the command is ended with all that it started. 0 is no limit.
            Default: 0.
        max_output_bytes (int | Unset): Bytes of each output stream that are kept, at most 33554432. The result tells
            how many were dropped. 0 is the default of 8388608. Default: 0.
    """

    command: list[str]
    env: list[str] | Unset = UNSET
    cwd: str | Unset = ""
    user: str | Unset = ""
    stdin: str | Unset = ""
    timeout_ms: int | Unset = 0
    max_output_bytes: int | Unset = 0
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        command = self.command

        env: list[str] | Unset = UNSET
        if not isinstance(self.env, Unset):
            env = self.env

        cwd = self.cwd

        user = self.user

        stdin = self.stdin

        timeout_ms = self.timeout_ms

        max_output_bytes = self.max_output_bytes

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "command": command,
            }
        )
        if env is not UNSET:
            field_dict["env"] = env
        if cwd is not UNSET:
            field_dict["cwd"] = cwd
        if user is not UNSET:
            field_dict["user"] = user
        if stdin is not UNSET:
            field_dict["stdin"] = stdin
        if timeout_ms is not UNSET:
            field_dict["timeout_ms"] = timeout_ms
        if max_output_bytes is not UNSET:
            field_dict["max_output_bytes"] = max_output_bytes

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        command = cast(list[str], d.pop("command"))

        env = cast(list[str], d.pop("env", UNSET))

        cwd = d.pop("cwd", UNSET)

        user = d.pop("user", UNSET)

        stdin = d.pop("stdin", UNSET)

        timeout_ms = d.pop("timeout_ms", UNSET)

        max_output_bytes = d.pop("max_output_bytes", UNSET)

        exec_request = cls(
            command=command,
            env=env,
            cwd=cwd,
            user=user,
            stdin=stdin,
            timeout_ms=timeout_ms,
            max_output_bytes=max_output_bytes,
        )

        exec_request.additional_properties = d
        return exec_request

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
