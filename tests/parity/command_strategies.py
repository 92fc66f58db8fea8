"""Random values of the models of commands and processes."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st
from values import arguments, commands, doubles, ids, int32, int64, texts, uint64, variables

from flash_sandbox import models

__all__ = ["STRATEGIES"]

contents = st.binary(max_size=300)
directories = st.just("") | arguments.map(lambda text: f"/{text}")
milliseconds = st.integers(0, 99_999_999_000)
sides = st.integers(0, 2**16 - 1)

program: Final[dict[str, Any]] = {
    "id": ids,
    "command": commands,
    "env": variables,
    "cwd": directories,
    "user": arguments,
    "stdin": contents,
    "timeout_ms": milliseconds,
}
attended: Final[dict[str, Any]] = {
    **program,
    "keep_stdin": st.booleans(),
    "tty": st.booleans(),
    "rows": sides,
    "columns": sides,
}
process: Final[dict[str, Any]] = {"id": ids, "process_id": ids}

processes = st.builds(
    models.ProcessInfo,
    process_id=texts,
    command=st.lists(texts).map(tuple),
    running=st.booleans(),
    attached=st.booleans(),
    tty=st.booleans(),
    started_at=doubles,
    exit_code=int32,
    signal=int32,
    timed_out=st.booleans(),
    duration_ms=int64,
    oom_killed=st.booleans(),
)
ending: Final[dict[str, Any]] = {
    "stdout": texts,
    "stderr": texts,
    "exit_code": int32,
    "stdout_dropped": uint64,
    "stderr_dropped": uint64,
    "stdout_raw": contents,
    "stderr_raw": contents,
    "signal": int32,
    "timed_out": st.booleans(),
    "duration_ms": int64,
    "oom_killed": st.booleans(),
}

STRATEGIES: Final[dict[type[Any], st.SearchStrategy[Any]]] = {
    models.ExecRequest: st.builds(
        models.ExecRequest, **program, max_output_bytes=st.integers(0, models.MAX_OUTPUT_BYTES)
    ),
    models.ExecResult: st.builds(models.ExecResult, **ending),
    models.ExecStreamRequest: st.builds(models.ExecStreamRequest, **attended),
    models.StartProcessRequest: st.builds(models.StartProcessRequest, **attended),
    models.StartProcessResult: st.builds(models.StartProcessResult, texts),
    models.ExecFrame: st.builds(
        models.ExecFrame,
        type=texts,
        process_id=texts,
        data=contents,
        offset=uint64,
        exit_code=int32,
        signal=int32,
        timed_out=st.booleans(),
        duration_ms=int64,
        oom_killed=st.booleans(),
    ),
    models.ListProcessesRequest: st.builds(models.ListProcessesRequest, ids),
    models.ListProcessesResult: st.builds(
        models.ListProcessesResult, st.lists(processes, max_size=3).map(tuple)
    ),
    models.WaitProcessRequest: st.builds(models.WaitProcessRequest, **process),
    models.FollowProcessRequest: st.builds(
        models.FollowProcessRequest, **process, offset=uint64, no_follow=st.booleans()
    ),
    models.SignalProcessRequest: st.builds(models.SignalProcessRequest, **process, signal=st.integers(1, 64)),
    models.SignalProcessResult: st.builds(models.SignalProcessResult),
    models.WriteStdinRequest: st.builds(
        models.WriteStdinRequest, **process, data=contents, end=st.booleans()
    ),
    models.WriteStdinResult: st.builds(models.WriteStdinResult),
    models.ResizeProcessRequest: st.builds(
        models.ResizeProcessRequest, **process, rows=st.integers(1, 65535), columns=st.integers(1, 65535)
    ),
    models.ResizeProcessResult: st.builds(models.ResizeProcessResult),
    models.RunPythonRequest: st.builds(models.RunPythonRequest, ids, arguments.filter(bool)),
    models.RunPythonResult: st.builds(models.RunPythonResult, **ending, result=texts),
    models.GetPlatformInfoRequest: st.builds(models.GetPlatformInfoRequest, ids),
    models.GetPlatformInfoResult: st.builds(models.GetPlatformInfoResult, texts),
}
"""A strategy for each model."""
