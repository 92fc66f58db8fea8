"""Copies of a sandbox, on every runtime."""

from __future__ import annotations

import pytest
from every_runtime import Runtime
from inside import wait_until

from flash_sandbox import SandboxNotFoundError


def count_in(runtime: Runtime, sandbox: str) -> int:
    """Return what the counter in a sandbox has come to; it may be writing it at this moment."""
    return int(runtime.sh(sandbox, "cat /count 2> /dev/null || true") or 0)


def test_copies_have_the_files_limits_and_variables(runtime: Runtime) -> None:
    with runtime.sandbox(env=["A=1"], labels=["x=y"]) as sandbox:
        runtime.sh(sandbox, "mkdir /kept && echo file > /kept/file")
        copies = runtime.client.fork_sandbox(sandbox, 2)
        try:
            for copy in copies:
                assert runtime.sh(copy, "echo $A; cat /kept/file") == ("1\nfile\n")
                runtime.sh(copy, "echo other > /kept/file")
                info = runtime.client.get_info(copy)
                assert (info.type, info.memory_mb, info.labels) == (runtime.type, 128, ("x=y",))
                assert info.image == runtime.client.get_info(sandbox).image
            assert runtime.sh(sandbox, "cat /kept/file") == "file\n"
        finally:
            for copy in copies:
                runtime.client.stop_sandbox(copy)


def test_processes_go_on_where_a_snapshot_holds_them(runtime: Runtime) -> None:
    goes_on = runtime.type == "gvisor"
    with runtime.sandbox() as sandbox:
        count = "i=0; while :; do i=$((i + 1)); echo $i > /count; sleep 0.05; done"
        runtime.client.start_process(sandbox, ["sh", "-c", count])
        wait_until(lambda: count_in(runtime, sandbox) > 3, "no count")
        (copy,) = runtime.client.fork_sandbox(sandbox)
        try:
            if goes_on:
                first = count_in(runtime, copy)
                wait_until(lambda: count_in(runtime, copy) > max(first, 3), "the copy stands still")
            # The original has gone on, too.
            now = count_in(runtime, sandbox)
            wait_until(lambda: count_in(runtime, sandbox) > max(now, 3), "it stands still")
        finally:
            runtime.client.stop_sandbox(copy)


def test_nothing_is_forked_that_is_not_there(runtime: Runtime) -> None:
    before = runtime.client.list_snapshots()
    with pytest.raises(SandboxNotFoundError):
        runtime.client.fork_sandbox("nothing")
    assert runtime.client.list_snapshots() == before
