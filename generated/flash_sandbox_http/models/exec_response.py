from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ExecResponse")


@_attrs_define
class ExecResponse:
    """What a command printed and how it ended.

    Attributes:
        stdout (str): Standard output as text; bytes that are not UTF-8 are replaced by U+FFFD.
        stderr (str): Standard error as text; bytes that are not UTF-8 are replaced by U+FFFD.
        exit_code (int): Exit status of the command; 128 + N where signal N ended it, 127 where it was not found, 126
            where it could not be run.
        stdout_dropped (int): Bytes of standard output that were dropped because they exceeded what is kept.
        stderr_dropped (int): Bytes of standard error that were dropped because they exceeded what is kept.
        stdout_raw (str): Standard output as it was, where it is not UTF-8; empty where the text says it all.
        stderr_raw (str): Standard error as it was, where it is not UTF-8; empty where the text says it all.
        signal (int): The signal that ended the command; 0 where none did.
        timed_out (bool): Whether the command was ended because its time had passed.
        duration_ms (int): Milliseconds from the start of the command to its end.
        oom_killed (bool): Whether the kernel ended a process of the command because the sandbox's memory was used up,
            as far as the runtime can tell.
    """

    stdout: str
    stderr: str
    exit_code: int
    stdout_dropped: int
    stderr_dropped: int
    stdout_raw: str
    stderr_raw: str
    signal: int
    timed_out: bool
    duration_ms: int
    oom_killed: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        stdout = self.stdout

        stderr = self.stderr

        exit_code = self.exit_code

        stdout_dropped = self.stdout_dropped

        stderr_dropped = self.stderr_dropped

        stdout_raw = self.stdout_raw

        stderr_raw = self.stderr_raw

        signal = self.signal

        timed_out = self.timed_out

        duration_ms = self.duration_ms

        oom_killed = self.oom_killed

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "stdout": stdout,
                "stderr": stderr,
                "exit_code": exit_code,
                "stdout_dropped": stdout_dropped,
                "stderr_dropped": stderr_dropped,
                "stdout_raw": stdout_raw,
                "stderr_raw": stderr_raw,
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
        stdout = d.pop("stdout")

        stderr = d.pop("stderr")

        exit_code = d.pop("exit_code")

        stdout_dropped = d.pop("stdout_dropped")

        stderr_dropped = d.pop("stderr_dropped")

        stdout_raw = d.pop("stdout_raw")

        stderr_raw = d.pop("stderr_raw")

        signal = d.pop("signal")

        timed_out = d.pop("timed_out")

        duration_ms = d.pop("duration_ms")

        oom_killed = d.pop("oom_killed")

        exec_response = cls(
            stdout=stdout,
            stderr=stderr,
            exit_code=exit_code,
            stdout_dropped=stdout_dropped,
            stderr_dropped=stderr_dropped,
            stdout_raw=stdout_raw,
            stderr_raw=stderr_raw,
            signal=signal,
            timed_out=timed_out,
            duration_ms=duration_ms,
            oom_killed=oom_killed,
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
