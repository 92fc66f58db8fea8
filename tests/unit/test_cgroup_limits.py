"""Every limit of a cgroup is set, and read back: one that the kernel does not take is an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flash_sandbox import InternalServerError
from flash_sandbox.orchestrator.linux import cgroup_files
from flash_sandbox.orchestrator.linux.cgroup_v1 import CgroupV1, HierarchyV1
from flash_sandbox.orchestrator.linux.cgroup_v2 import CgroupV2
from flash_sandbox.orchestrator.linux.limits import Limits

MEMORY = 64 * 1024 * 1024
LIMITS = Limits(memory_bytes=MEMORY, cpu_cores=0.5, pids=100)
QUOTA = 50_000

# What a cgroup's directory holds as soon as it is made, and what must be in there for these limits.
V1 = {
    "memory.limit_in_bytes": ("9223372036854771712", str(MEMORY)),
    "memory.memsw.limit_in_bytes": ("9223372036854771712", str(MEMORY)),
    "memory.kmem.tcp.limit_in_bytes": ("9223372036854771712", str(MEMORY)),
    "cpu.cfs_period_us": ("100000", "100000"),
    "cpu.cfs_quota_us": ("-1", str(QUOTA)),
    "pids.max": ("max", "100"),
}
V2 = {
    "memory.max": ("max", str(MEMORY)),
    "memory.swap.max": ("max", "0"),
    "cpu.max": ("max 100000", f"{QUOTA} 100000"),
    "pids.max": ("max", "100"),
}


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kernel(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Make a cgroup where a kernel takes all but some writes; return what its files hold then."""
    listed = V1 if version == "v1" else V2

    def make(*, ignored: str = "", lacking: str = "") -> dict[str, str]:
        mkdir, write = os.mkdir, cgroup_files.write

        def mkdir_with_files(path: Any, *options: Any) -> None:
            mkdir(path, *options)
            for name, (before, _) in listed.items():
                if name != lacking:
                    # What is asked for is read back as a number.
                    Path(path, name).write_text(before.replace("max", "-1"))

        def write_or_not(path: Path, text: str) -> None:
            if path.name != ignored:
                path.write_text("")
                write(path, text)

        monkeypatch.setattr(os, "mkdir", mkdir_with_files)
        monkeypatch.setattr(cgroup_files, "write", write_or_not)
        directory = tmp_path / "sandbox"
        if version == "v1":
            CgroupV1(dict.fromkeys(HierarchyV1.REQUIRED, directory)).make(LIMITS, QUOTA)
        else:
            CgroupV2(directory).make(LIMITS, QUOTA)
        return {path.name: path.read_text() for path in directory.iterdir()}

    return make


def test_every_limit_is_set(version: str, kernel: Callable[..., dict[str, str]]) -> None:
    listed = V1 if version == "v1" else V2
    assert kernel() == {name: after for name, (_, after) in listed.items()}


@pytest.mark.parametrize(
    ("version", "name"),
    [
        *(("v1", name) for name in V1 if name != "cpu.cfs_period_us"),
        *(("v2", name) for name in V2),
    ],
    indirect=["version"],
)
def test_a_limit_that_was_not_taken_is_an_error(name: str, kernel: Callable[..., dict[str, str]]) -> None:
    with pytest.raises(InternalServerError, match=r"the kernel did not take the .* limit"):
        kernel(ignored=name)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("v1", "memory.memsw.limit_in_bytes"),
        ("v1", "memory.kmem.tcp.limit_in_bytes"),
        ("v2", "memory.swap.max"),
    ],
    indirect=["version"],
)
def test_a_kernel_may_lack_what_not_every_one_has(name: str, kernel: Callable[..., dict[str, str]]) -> None:
    assert name not in kernel(lacking=name)
