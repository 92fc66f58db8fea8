"""The filter, run by an interpreter of classic BPF: which system calls of which architecture pass."""

from __future__ import annotations

import errno
import struct

import pytest

from flash_sandbox.orchestrator.sandboxing import syscalls
from flash_sandbox.orchestrator.sandboxing.seccomp import build_filter

ALLOW = 0x7FFF0000
KILL = 0x80000000
EPERM = 0x00050000 | errno.EPERM
ENOSYS = 0x00050000 | errno.ENOSYS
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003}

architectures = pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])


def run(program: bytes, architecture: str, number: int, *arguments: int) -> int:
    """Run a filter on one system call and return its verdict."""
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, AUDIT_ARCH[architecture], 0, *padded)
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, position = 0, 0
    while True:
        opcode, if_true, if_false, operand = instructions[position]
        position += 1
        if opcode == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif opcode == 0x06:
            return operand
        else:
            holds = {
                0x15: accumulator == operand,
                0x25: accumulator > operand,
                0x35: accumulator >= operand,
                0x45: bool(accumulator & operand),
            }[opcode]
            position += if_true if holds else if_false


@architectures
def test_what_is_listed_is_allowed(architecture):
    program = build_filter(architecture)
    for name, number in syscalls.numbers(architecture).items():
        arguments = {"socket": (1,), "personality": (0xFFFFFFFF,)}.get(name, ())
        assert run(program, architecture, number, *arguments) == ALLOW, name


@architectures
def test_what_is_not_listed_is_refused(architecture):
    program = build_filter(architecture)
    listed = set(syscalls.numbers(architecture).values())
    for number in set(range(syscalls.HIGHEST_KNOWN + 1)) - listed - {435}:
        assert run(program, architecture, number) == EPERM, number


@architectures
@pytest.mark.parametrize("number", [435, 452, 460, 1000])
def test_what_is_newer_than_the_list_seems_not_to_exist(architecture, number):
    assert run(build_filter(architecture), architecture, number) == ENOSYS


@architectures
@pytest.mark.parametrize(
    "flag", [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]
)
def test_clone_makes_no_namespace(architecture, flag):
    number = syscalls.numbers(architecture)["clone"]
    assert run(build_filter(architecture), architecture, number, flag | 17) == EPERM


@architectures
@pytest.mark.parametrize(
    ("family", "verdict"), [(1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW), (17, EPERM), (40, EPERM)]
)
def test_sockets_are_of_the_usual_families(architecture, family, verdict):
    number = syscalls.numbers(architecture)["socket"]
    assert run(build_filter(architecture), architecture, number, family) == verdict


@architectures
@pytest.mark.parametrize(
    ("persona", "verdict"), [(0, ALLOW), (0x20008, ALLOW), (0x0040000, EPERM), (0x0400000, EPERM)]
)
def test_a_personality_that_weakens_the_address_space_is_refused(architecture, persona, verdict):
    number = syscalls.numbers(architecture)["personality"]
    assert run(build_filter(architecture), architecture, number, persona) == verdict


@architectures
@pytest.mark.parametrize(("request_", "verdict"), [(0x5401, ALLOW), (0x5412, EPERM), (0x541C, EPERM)])
def test_a_terminals_input_cannot_be_forged(architecture, request_, verdict):
    number = syscalls.numbers(architecture)["ioctl"]
    assert run(build_filter(architecture), architecture, number, 0, request_) == verdict


@architectures
def test_an_argument_beyond_32_bits_does_not_hide_what_the_kernel_looks_at(architecture):
    number = syscalls.numbers(architecture)["clone"]
    assert run(build_filter(architecture), architecture, number, 1 << 40 | 0x10000000) == EPERM


@pytest.mark.parametrize(
    ("filter_of", "called_from"), [("x86_64", "i386"), ("x86_64", "aarch64"), ("aarch64", "x86_64")]
)
def test_another_architectures_numbers_end_the_process(filter_of, called_from):
    assert run(build_filter(filter_of), called_from, 0) == KILL


def test_the_x32_numbers_seem_not_to_exist():
    assert run(build_filter("x86_64"), "x86_64", 0x40000000) == ENOSYS


def test_an_unknown_architecture_is_an_error():
    with pytest.raises(KeyError):
        build_filter("riscv64")


@architectures
@pytest.mark.parametrize(
    "name",
    [
        "ptrace",
        "process_vm_writev",
        "mount",
        "setns",
        "unshare",
        "bpf",
        "keyctl",
        "io_uring_setup",
        "userfaultfd",
    ],
)
def test_the_most_dangerous_calls_are_not_listed(architecture, name):
    assert name not in syscalls.numbers(architecture)
