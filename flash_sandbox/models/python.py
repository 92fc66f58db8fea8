"""What is asked and answered of Python code that is run in a sandbox."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

from .bases import OneSandbox
from .checks import MAX_MESSAGE_BYTES, argument, refuse, text
from .commands import ExecResult

__all__ = ["RunPythonRequest", "RunPythonResult"]


@dataclass(frozen=True, slots=True)
class RunPythonRequest(OneSandbox):
    """What `run_python` asks for: the ID of the sandbox, and Python code."""

    code: str = ""

    def __post_init__(self) -> None:
        OneSandbox.__post_init__(self)
        argument("code", self.code)
        if not self.code:
            raise refuse("code must not be empty")
        if len(self.code.encode()) > MAX_MESSAGE_BYTES:
            raise refuse(f"code is longer than {MAX_MESSAGE_BYTES} bytes")


@dataclass(frozen=True, slots=True, repr=False)
class RunPythonResult(ExecResult):
    """What Python code printed and how its interpreter ended: an `ExecResult` whose ``str()`` is `result`.

    Attributes:
        result: Standard output, then standard error. It is all that older orchestrators answer, and reads as
            the standard output of code that ended with status 0.
    """

    result: str = ""

    def __post_init__(self) -> None:
        text("result", self.result)
        if self.result and not self.stdout and not self.stderr:
            object.__setattr__(self, "stdout", self.result)
        ExecResult.__post_init__(self)
        if not self.result:
            object.__setattr__(self, "result", self.stdout + self.stderr)

    @classmethod
    def from_exec(cls, ended: ExecResult) -> Self:
        """Return the result of code whose interpreter ended so."""
        return cls(**{field.name: getattr(ended, field.name) for field in fields(ended)})

    def __str__(self) -> str:
        return self.result
