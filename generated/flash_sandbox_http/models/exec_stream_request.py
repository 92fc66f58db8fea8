from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="ExecStreamRequest")


@_attrs_define
class ExecStreamRequest:
    """
    Attributes:
        command (list[str]): Command and its arguments. The first element is a path, or a name looked up in the
            sandbox's PATH.
        env (list[str] | Unset): Variables that the command has besides the sandbox's own, each NAME=value.
        cwd (str | Unset): Directory in the sandbox to run in, absolute. Empty is the sandbox's own. Default: ''.
        user (str | Unset): User to run as: a name, UID or UID:GID; which can be given depends on the runtime. Empty is
            the main process's. Default: ''.
        stdin (str | Unset): Input of the command, or the beginning of it, at most 8 MiB. Default: ''.
        timeout_ms (int | Unset): Milliseconds after which the command is ended with all that it started. 0 is no limit.
            Default: 0.
        keep_stdin (bool | Unset): Whether more input may come, by write_stdin. Default: False.
        tty (bool | Unset): Whether the command gets a terminal for all of its streams. More input may always come to
            that. Default: False.
        rows (int | Unset): Rows of the terminal, 1 to 65535. 0 is 24. Default: 0.
        columns (int | Unset): Columns of the terminal, 1 to 65535. 0 is 80. Default: 0.
    """

    command: list[str]
    env: list[str] | Unset = UNSET
    cwd: str | Unset = ""
    user: str | Unset = ""
    stdin: str | Unset = ""
    timeout_ms: int | Unset = 0
    keep_stdin: bool | Unset = False
    tty: bool | Unset = False
    rows: int | Unset = 0
    columns: int | Unset = 0
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

        keep_stdin = self.keep_stdin

        tty = self.tty

        rows = self.rows

        columns = self.columns

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
        if keep_stdin is not UNSET:
            field_dict["keep_stdin"] = keep_stdin
        if tty is not UNSET:
            field_dict["tty"] = tty
        if rows is not UNSET:
            field_dict["rows"] = rows
        if columns is not UNSET:
            field_dict["columns"] = columns

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

        keep_stdin = d.pop("keep_stdin", UNSET)

        tty = d.pop("tty", UNSET)

        rows = d.pop("rows", UNSET)

        columns = d.pop("columns", UNSET)

        exec_stream_request = cls(
            command=command,
            env=env,
            cwd=cwd,
            user=user,
            stdin=stdin,
            timeout_ms=timeout_ms,
            keep_stdin=keep_stdin,
            tty=tty,
            rows=rows,
            columns=columns,
        )

        exec_stream_request.additional_properties = d
        return exec_stream_request

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
