from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ExecFrame")


@_attrs_define
class ExecFrame:
    """One thing that happened to a process. There is a first and a last one: started and exit.

    Attributes:
        type_ (str): What happened: started, stdout or stderr (it printed), keepalive (nothing for a while), end (of
            what was printed so far) or exit.
        process_id (str): ID of the process.
        data (str): What was printed.
        offset (int): Bytes printed before, of both streams together; follow_process goes on from there.
        exit_code (int): Exit status of the command; 128 + N where signal N ended it, 127 where it was not found, 126
            where it could not be run.
        signal (int): The signal that ended the command; 0 where none did.
        timed_out (bool): Whether the command was ended because its time had passed.
        duration_ms (int): Milliseconds from the start of the command to its end.
        oom_killed (bool): Whether the kernel ended a process of the command because the sandbox's memory was used up,
            as far as the runtime can tell.
    """

    type_: str
    process_id: str
    data: str
    offset: int
    exit_code: int
    signal: int
    timed_out: bool
    duration_ms: int
    oom_killed: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        type_ = self.type_

        process_id = self.process_id

        data = self.data

        offset = self.offset

        exit_code = self.exit_code

        signal = self.signal

        timed_out = self.timed_out

        duration_ms = self.duration_ms

        oom_killed = self.oom_killed

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "type": type_,
                "process_id": process_id,
                "data": data,
                "offset": offset,
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
        type_ = d.pop("type")

        process_id = d.pop("process_id")

        data = d.pop("data")

        offset = d.pop("offset")

        exit_code = d.pop("exit_code")

        signal = d.pop("signal")

        timed_out = d.pop("timed_out")

        duration_ms = d.pop("duration_ms")

        oom_killed = d.pop("oom_killed")

        exec_frame = cls(
            type_=type_,
            process_id=process_id,
            data=data,
            offset=offset,
            exit_code=exit_code,
            signal=signal,
            timed_out=timed_out,
            duration_ms=duration_ms,
            oom_killed=oom_killed,
        )

        exec_frame.additional_properties = d
        return exec_frame

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
