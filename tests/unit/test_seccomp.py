"""The filter, run by an interpreter of classic BPF: which system calls of which architecture pass."""

from __future__ import annotations

import errno
import struct

import pytest

from flash_sandbox.orchestrator.linux import syscalls
from flash_sandbox.orchestrator.linux.seccomp import build_filter

ALLOW = 0x7FFF0000
KILL = 0x80000000
PRETEND = 0x00050000
EPERM = 0x00050000 | errno.EPERM
NO_PROTOCOL = 0x00050000 | errno.EPROTONOSUPPORT
NO_OPTION = 0x00050000 | errno.ENOPROTOOPT
ENOSYS = 0x00050000 | errno.ENOSYS
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003}

# Numbers on x86_64 and AArch64. What can reach other processes, files of the host, or rarely tested parts of
# the kernel, whoever asks for it.
NEVER = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "fsopen": (430, 430),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "quotactl": (179, 60),
    "setns": (308, 268),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
STREAM, DATAGRAM, SEQPACKET, DCCP, CLOSED_AT_THE_END = 1, 2, 5, 6, 0x80000
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
    program = build_filter(architecture, one_user=False)
    for name, number in syscalls.numbers(architecture).items():
        arguments = {"socket": (1,), "socketpair": (1,), "personality": (0xFFFFFFFF,)}.get(name, ())
        assert run(program, architecture, number, *arguments) == ALLOW, name


@architectures
def test_what_is_not_listed_is_refused(architecture):
    program = build_filter(architecture)
    listed = set(syscalls.numbers(architecture).values())
    for number in set(range(syscalls.HIGHEST_KNOWN + 1)) - listed - set(absent(architecture)):
        assert run(program, architecture, number) == EPERM, number


@architectures
@pytest.mark.parametrize("number", [452, 460, 1000])
def test_what_is_newer_than_the_list_seems_not_to_exist(architecture, number):
    assert run(build_filter(architecture), architecture, number) == ENOSYS


def absent(architecture):
    """Return clone3, io_setup, io_destroy, io_getevents, io_submit, io_cancel and io_pgetevents."""
    return {"x86_64": [435, *range(206, 211), 333], "aarch64": [435, *range(5), 292]}[architecture]


@architectures
def test_what_libraries_can_do_without_seems_not_to_exist(architecture):
    for number in absent(architecture):
        assert run(build_filter(architecture), architecture, number) == ENOSYS, number


@architectures
@pytest.mark.parametrize(
    "flag", [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]
)
def test_clone_makes_no_namespace(architecture, flag):
    number = syscalls.numbers(architecture)["clone"]
    assert run(build_filter(architecture), architecture, number, flag | 17) == EPERM


@architectures
@pytest.mark.parametrize("call", ["socket", "socketpair"])
@pytest.mark.parametrize("family", sorted(set(range(47)) - {1, 2, 10, 16}))
def test_no_call_makes_a_socket_of_an_unusual_family(architecture, call, family):
    number = syscalls.numbers(architecture)[call]
    assert run(build_filter(architecture), architecture, number, family, STREAM) == EPERM


@architectures
@pytest.mark.parametrize(
    ("family", "type_", "protocol", "verdict"),
    [
        (1, STREAM, 0, ALLOW),
        (1, SEQPACKET, 0, ALLOW),
        (2, STREAM | CLOSED_AT_THE_END, 0, ALLOW),
        (2, STREAM, 6, ALLOW),
        (10, DATAGRAM, 17, ALLOW),
        (2, DATAGRAM, 1, ALLOW),  # ICMP
        (10, DATAGRAM, 58, ALLOW),  # ICMPv6
        (2, STREAM, 262, NO_PROTOCOL),  # MPTCP
        (10, STREAM, 1 << 32 | 262, NO_PROTOCOL),
        (10, DATAGRAM, 136, NO_PROTOCOL),  # UDP-Lite
        (2, STREAM, 256, NO_PROTOCOL),  # SMC
        (2, STREAM, 132, NO_PROTOCOL),  # SCTP
        (10, DATAGRAM, 115, NO_PROTOCOL),  # L2TP
        # SCTP and DCCP by another name.
        (2, SEQPACKET, 0, NO_PROTOCOL),
        (10, SEQPACKET | CLOSED_AT_THE_END, 0, NO_PROTOCOL),
        (2, DCCP, 0, NO_PROTOCOL),
        (16, DATAGRAM, 0, ALLOW),
        (16, DATAGRAM, 12, NO_PROTOCOL),  # netfilter
        (16, DATAGRAM, 6, NO_PROTOCOL),  # IPsec
        (16, DATAGRAM, 16, NO_PROTOCOL),  # generic
    ],
)
def test_a_socket_speaks_a_usual_protocol(architecture, family, type_, protocol, verdict):
    number = syscalls.numbers(architecture)["socket"]
    assert run(build_filter(architecture), architecture, number, family, type_, protocol) == verdict


@architectures
@pytest.mark.parametrize(
    ("family", "verdict"), [(1, ALLOW), (2, EPERM), (10, EPERM), (16, EPERM), (30, EPERM), (40, EPERM)]
)
def test_a_pair_of_sockets_is_a_local_one(architecture, family, verdict):
    number = syscalls.numbers(architecture)["socketpair"]
    assert run(build_filter(architecture), architecture, number, family, STREAM) == verdict


@architectures
@pytest.mark.parametrize(
    ("level", "option", "verdict"), [(6, 1, ALLOW), (1, 31, ALLOW), (41, 31, ALLOW), (6, 31, NO_OPTION)]
)
def test_a_tcp_socket_stays_one(architecture, level, option, verdict):
    number = syscalls.numbers(architecture)["setsockopt"]
    assert run(build_filter(architecture), architecture, number, 3, level, option) == verdict


@architectures
def test_where_there_is_one_user_files_seem_to_change_their_owner(architecture):
    numbers = syscalls.numbers(architecture)
    for name in numbers.keys() & {"chown", "fchown", "fchownat", "lchown"}:
        assert run(build_filter(architecture), architecture, numbers[name]) == PRETEND
        assert run(build_filter(architecture, one_user=False), architecture, numbers[name]) == ALLOW


@architectures
def test_nobody_seems_to_become_another_user(architecture):
    numbers = syscalls.numbers(architecture)
    for name in ("setuid", "setgid", "setgroups", "setresuid", "setresgid", "setreuid", "setregid"):
        assert run(build_filter(architecture), architecture, numbers[name]) == ALLOW


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
@pytest.mark.parametrize("name", NEVER)
def test_a_dangerous_call_is_refused(architecture, name):
    number = NEVER[name][["x86_64", "aarch64"].index(architecture)]
    assert run(build_filter(architecture), architecture, number) == EPERM
