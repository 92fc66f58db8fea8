from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ProcessInfo")


@_attrs_define
class ProcessInfo:
    """One process that was begun by exec_stream or start_process.

    Attributes:
        process_id (str): ID of the process.
        command (list[str]): Command and its arguments.
        running (bool): Whether it runs.
        attached (bool): Whether it ends with the stream that began it.
        tty (bool): Whether it has a terminal.
        started_at (float): When it was started, in seconds of Unix time.
        exit_code (int): Exit status, once it has ended; 128 + N where signal N ended it.
        signal (int): The signal that ended it; 0 where none did.
        timed_out (bool): Whether it was ended because its time had passed.
        duration_ms (int): Milliseconds from its start to its end, or to now where it runs.
        oom_killed (bool): Whether the kernel ended a process of the command because the sandbox's memory was used up,
            as far as the runtime can tell.
    """

    process_id: str
    command: list[str]
    running: bool
    attached: bool
    tty: bool
    started_at: float
    exit_code: int
    signal: int
    timed_out: bool
    duration_ms: int
    oom_killed: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        process_id = self.process_id

        command = self.command

        running = self.running

        attached = self.attached

        tty = self.tty

        started_at = self.started_at

        exit_code = self.exit_code

        signal = self.signal

        timed_out = self.timed_out

        duration_ms = self.duration_ms

        oom_killed = self.oom_killed

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "process_id": process_id,
                "command": command,
                "running": running,
                "attached": attached,
                "tty": tty,
                "started_at": started_at,
                "exit_code": exit_code,
                "signal": signal,
                "timed_out": timed_out,
                "duration_ms": duration_ms,
                "oom_killed": oom_killed,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        process_id = d.pop("process_id")

        command = cast(list[str], d.pop("command"))

        running = d.pop("running")

        attached = d.pop("attached")

        tty = d.pop("tty")

        started_at = d.pop("started_at")

        exit_code = d.pop("exit_code")

        signal = d.pop("signal")

        timed_out = d.pop("timed_out")

        duration_ms = d.pop("duration_ms")

        oom_killed = d.pop("oom_killed")

        process_info = cls(
            process_id=process_id,
            command=command,
            running=running,
            attached=attached,
            tty=tty,
            started_at=started_at,
            exit_code=exit_code,
            signal=signal,
            timed_out=timed_out,
            duration_ms=duration_ms,
            oom_killed=oom_killed,
        )

        process_info.additional_properties = d
        return process_info

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
