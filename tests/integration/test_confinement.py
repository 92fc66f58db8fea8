"""What a sandbox can see and do, looked at from inside: its main process and what exec starts, alike."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from inside import output_of_exec, output_of_main, running

from flash_sandbox import HTTPClient

Inside = Callable[[str], str]

# Numbers on x86_64 and AArch64 (asm/unistd.h): calls that must fail, with arguments that would not.
SYSCALLS = {
    "mount": (165, 40, "'none', '/mnt', 'tmpfs', 0, 0"),
    "umount2": (166, 39, "'/proc', 2"),
    "unshare": (272, 97, "0x10000000"),
    "setns": (308, 268, "0, 0"),
    "pivot_root": (155, 41, "'/', '/'"),
    "ptrace": (101, 117, "16, 1, 0, 0"),
    "process_vm_readv": (310, 270, "1, 0, 0, 0, 0, 0"),
    "bpf": (321, 280, "0, 0, 0"),
    "perf_event_open": (298, 241, "0, 0, -1, -1, 0"),
    "keyctl": (250, 219, "0, -3, 0"),
    "add_key": (248, 217, "'user', 'k', 'v', 1, -3"),
    "init_module": (175, 105, "0, 0, ''"),
    "kexec_load": (246, 104, "0, 0, 0, 0"),
    "reboot": (169, 142, "0xfee1dead, 672274793, 0, 0"),
    "swapon": (167, 224, "'/x', 0"),
    "userfaultfd": (323, 282, "0"),
    "io_uring_setup": (425, 425, "1, 0"),
    "open_by_handle_at": (304, 265, "-1, 0, 0"),
    "clock_settime": (227, 112, "0, 0"),
    "sethostname": (170, 161, "'x', 1"),
    "syslog": (103, 116, "10, 0, 0"),
    "vhangup": (153, 58, ""),
}
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE, SYS_CHROOT and SETFCAP.
OWN = 0x800404FB
# Families that reach past the network namespace or into rarely tested parts of the kernel (socket.h).
SOCKET_FAMILIES = {"AF_PACKET": 17, "AF_ALG": 38, "AF_VSOCK": 40, "AF_KEY": 15, "AF_BLUETOOTH": 31}


@pytest.fixture(scope="module")
def client(orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


@pytest.fixture(params=["main process", "exec"])
def inside(request, client) -> Inside:
    run = output_of_main if request.param == "main process" else output_of_exec
    return lambda script: run(client, script)


def perl(syscall: int, arguments: str) -> str:
    """Return a command that makes a system call and prints its error number, 0 for success."""
    # A string has to be in a variable: the kernel may write to it.
    return f'perl -e "my @a = ({arguments}); print syscall({syscall}, @a) == -1 ? \\$!+0 : 0"'


def number_of(name: str) -> int:
    x86_64, aarch64, _ = SYSCALLS[name]
    return x86_64 if os.uname().machine == "x86_64" else aarch64


def status_of(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


@pytest.mark.parametrize("process", ["self", "1"])
def test_no_process_has_a_capability_but_for_what_is_its_own(inside, process):
    status = status_of(inside(f"cat /proc/{process}/status"))
    granted = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert granted.pop("CapBnd") == OWN
    # What the main process hands on to its children is never more, and PID 1 may have none.
    assert set(granted.values()) <= {0, OWN}
    assert process == "1" or granted["CapEff"] == granted["CapPrm"] == OWN


@pytest.mark.parametrize("process", ["self", "1"])
def test_no_process_can_gain_privileges(inside, process):
    assert status_of(inside(f"cat /proc/{process}/status"))["NoNewPrivs"] == "1"


@pytest.mark.parametrize("process", ["self", "1"])
def test_every_process_is_under_the_seccomp_filter(inside, process):
    assert status_of(inside(f"cat /proc/{process}/status"))["Seccomp"] == "2"


def test_root_inside_is_not_root_on_the_host(inside):
    first_inside, first_on_host, count = inside("cat /proc/self/uid_map").split()
    assert (first_inside, count) == ("0", "65536" if os.geteuid() == 0 else "1")
    assert int(first_on_host) != 0


def test_exec_joins_every_namespace_of_the_main_process(client):
    names = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    show = " && ".join(f"readlink /proc/self/ns/{name}" for name in names)
    main = f"({show}) > /part; mv /part /out; exec tail -f /dev/null"
    with running(client, command=["sh", "-c", main]) as sandbox_id:
        joined = client.exec_command(sandbox_id, ["sh", "-c", show]).stdout
        of_main = "until [ -e /out ]; do sleep 0.01; done; cat /out"
        assert joined == client.exec_command(sandbox_id, ["sh", "-c", of_main]).stdout
    of_the_host = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    assert not set(joined.split()) & set(of_the_host)


def test_only_the_sandboxs_processes_are_visible(inside):
    commands = inside("for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done")
    assert "pytest" not in commands
    assert len(commands.splitlines()) < 12


def test_pid_1_is_the_sandboxs_own(inside):
    assert inside("tr '\\0' ' ' < /proc/1/cmdline").split()[0] == "agent"


def test_there_is_no_network_interface_but_loopback(inside):
    interfaces = [line.split(":")[0].strip() for line in inside("cat /proc/net/dev").splitlines()[2:]]
    assert interfaces == ["lo"]


def test_the_orchestrator_cannot_be_reached(inside, orchestrator):
    port = urlsplit(orchestrator.http_address).port
    script = f"use IO::Socket; print IO::Socket::INET->new(PeerAddr => q(127.0.0.1:{port})) ? 1 : 0"
    assert inside(f"perl -e '{script}'") == "0"


def test_the_hosts_files_are_not_visible(inside, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("for the host alone")
    home = os.path.expanduser("~")
    assert inside(
        f"ls -A /root /home; cat {secret} 2>/dev/null; ls -A {home} 2>/dev/null | grep -v : "
    ).split() == [
        "/home:",
        "/root:",
    ]


def test_the_hosts_etc_is_not_visible(inside):
    assert inside(
        "cut -d: -f2 /etc/shadow | uniq; cat /etc/ssh/* /etc/machine-id 2>/dev/null; cut -d: -f1 /etc/passwd"
    ).split() == ["*", "root", "daemon", "bin", "sys", "mail", "www-data", "nobody"]


def test_the_hosts_environment_does_not_leak_in(inside, monkeypatch):
    names = {line.partition("=")[0] for line in inside("env").splitlines()}
    of_the_image = {"PATH", "NPM_CONFIG_PREFIX"}
    assert names <= of_the_image | {"HOME", "HOSTNAME", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}


def test_pid_1_has_a_clean_environment_too(inside):
    assert "PYTHON" not in inside("tr '\\0' '\\n' < /proc/1/environ")


def test_no_descriptor_is_inherited(inside):
    # ls itself opens one for the directory that it lists.
    assert inside("ls /proc/self/fd").split() == ["0", "1", "2", "3"]


def test_the_host_name_is_the_sandboxs_id(client):
    with running(client) as sandbox_id:
        assert client.exec_command(sandbox_id, ["hostname"]).stdout.strip() == sandbox_id


@pytest.mark.parametrize("name", SYSCALLS)
def test_a_dangerous_system_call_is_refused(inside, name):
    assert inside(perl(number_of(name), SYSCALLS[name][2])) == str(errno.EPERM)


@pytest.mark.parametrize("family", SOCKET_FAMILIES)
def test_a_socket_of_an_unusual_family_is_refused(inside, family):
    number = 41 if os.uname().machine == "x86_64" else 198
    assert inside(perl(number, f"{SOCKET_FAMILIES[family]}, 3, 0")) == str(errno.EPERM)


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_TIPC"])
def test_a_pair_of_sockets_of_another_family_is_refused(inside, family):
    number = 53 if os.uname().machine == "x86_64" else 199
    numbers = {"AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_TIPC": 30}
    assert inside(perl(number, f"{numbers[family]}, 1, 0, pack(q(ii), 0, 0)")) == str(errno.EPERM)


@pytest.mark.parametrize(
    ("what", "arguments"),
    {
        "MPTCP": "2, 1, 262",
        "UDP-Lite": "10, 2, 136",
        "SCTP": "2, 1, 132",
        "SCTP as the usual one": "2, 5, 0",
        "netfilter": "16, 3, 12",
    }.items(),
)
def test_a_socket_of_an_unusual_protocol_is_refused(inside, what, arguments):
    number = 41 if os.uname().machine == "x86_64" else 198
    assert inside(perl(number, arguments)) == str(errno.EPROTONOSUPPORT)


def test_the_machines_pool_of_asynchronous_requests_cannot_be_taken(inside):
    number = 206 if os.uname().machine == "x86_64" else 0
    assert inside(perl(number, "1, pack(q(J), 0)")) == str(errno.ENOSYS)


def test_clone_cannot_make_a_namespace(inside):
    number = 56 if os.uname().machine == "x86_64" else 220
    new_user_namespace_and_sigchld = 0x10000000 | 17
    assert inside(perl(number, f"{new_user_namespace_and_sigchld}, 0, 0, 0, 0")) == str(errno.EPERM)


def test_clone3_seems_not_to_exist_so_that_libraries_fall_back(inside):
    assert inside(perl(435, "0, 0")) == str(errno.ENOSYS)


def test_a_terminals_input_cannot_be_forged(inside):
    number = 16 if os.uname().machine == "x86_64" else 29
    assert inside(perl(number, "0, 0x5412, 'x'")) == str(errno.EPERM)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86_64 alone has a second set of numbers")
def test_the_x32_numbers_are_no_way_round(inside):
    assert inside(perl(0x40000000 + 165, "'none', '/mnt', 'tmpfs', 0, 0")) == str(errno.ENOSYS)


@pytest.mark.parametrize(
    "path", ["kernel/core_pattern", "net/ipv4/ip_forward", "user/max_user_namespaces", "vm/drop_caches"]
)
def test_the_kernels_settings_cannot_be_written(inside, path):
    assert inside(f"echo 0 > /proc/sys/{path} && echo written").endswith("written\n") is False


def test_the_hosts_programs_cannot_be_written(inside):
    assert "done" not in inside("touch /usr/bin/new && echo done; rm /usr/bin/env && echo done")


def test_the_hosts_devices_cannot_be_changed(inside):
    before = stat.S_IMODE(os.stat("/dev/null").st_mode)
    inside("chmod 000 /dev/null; chown 1 /dev/null; rm -f /dev/null")
    assert stat.S_IMODE(os.stat("/dev/null").st_mode) == before


def test_nor_can_their_modes_and_owners_whoever_owns_them(inside):
    # Where the orchestrator is root of a container, its devices may be that root's.
    mounts = [line.split() for line in inside("cat /proc/self/mountinfo").splitlines()]
    devices = {fields[4]: fields[5] for fields in mounts if fields[4].startswith("/dev/")}
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        assert "ro" in devices[f"/dev/{name}"].split(","), name


def test_devices_can_be_read_and_written(inside):
    assert inside("echo into > /dev/null; head -c 2 /dev/zero | wc -c; : < /dev/random") == "2\n"


def test_without_input_everything_reads_the_sandboxs_own_null_device(inside):
    # What programs look at that search a directory where there is nothing to read (rg).
    show = """
        stat -Lc %F /proc/self/fd/0
        grep mnt_id /proc/self/fdinfo/0
        grep ' /dev/null ' /proc/self/mountinfo
    """
    lines = inside(show).splitlines()
    mount = next(line.split() for line in lines if " /dev/null " in line)
    assert lines[0] == "character special file"
    assert lines[1].split()[1] == mount[0]
    assert "ro" in mount[5].split(",")


def test_the_program_of_pid_1_cannot_be_made_unusable_for_the_next_sandbox(client):
    for command in ("chmod 000 /proc/1/exe", "true > /proc/1/exe", "rm -f /proc/1/exe", "true"):
        with running(client) as sandbox_id:
            client.exec_command(sandbox_id, ["sh", "-c", command])


@pytest.mark.parametrize(
    "change", ["touch /dev/new", "mkdir /dev/new", "rm /dev/null", "ln -s null /dev/new"]
)
def test_dev_cannot_be_written(inside, change):
    assert "Read-only file system" in inside(change)


def test_shared_memory_and_temporary_files_can_be_written(inside):
    assert (
        inside("for d in /dev/shm /tmp; do touch $d/new && rm $d/new && echo done; done").split()
        == ["done"] * 2
    )


def has_one_user(inside):
    return inside("cat /proc/self/uid_map").split()[2] == "1"


def test_files_change_their_owner_or_seem_to_where_there_is_one(inside):
    script = "touch /tmp/f && chown 5:6 /tmp/f && chown -h 7 /tmp/f && stat -c %u:%g /tmp/f"
    assert inside(script) == ("0:0\n" if has_one_user(inside) else "7:6\n")


def test_nobody_seems_to_become_another_user(inside):
    said = inside("perl -e '$> = 5; print $!, $>'")
    assert "Invalid argument0" in said if has_one_user(inside) else said == "5"


def test_a_device_cannot_be_made(inside):
    assert "made" not in inside("mknod /tmp/disk b 8 0 && echo made")


def test_a_program_with_the_set_user_id_bit_gains_nothing(inside):
    script = (
        "cp /usr/bin/cat /tmp/cat; chmod 6755 /tmp/cat; /tmp/cat /proc/self/status | grep -E '^(CapEff|Uid)'"
    )
    assert inside(script).split() == ["Uid:", "0", "0", "0", "0", "CapEff:", f"{OWN:016x}"]


def test_two_sandboxes_do_not_share_files_or_processes(client):
    with running(client) as one, running(client) as other:
        client.exec_command(one, ["sh", "-c", "echo mine > /tmp/file; sleep 1000 > /dev/null 2>&1 &"])
        seen = client.exec_command(other, ["sh", "-c", "cat /tmp/file; cat /proc/[0-9]*/comm"])
        assert "sleep" not in seen.stdout
        assert "mine" not in seen.stdout
