"""The launcher: a small process of its own that starts sandboxes and the commands in them.

The orchestrator runs this file by its path in a bare interpreter (``python -I -S``), so that each fork
copies a few MiB and no thread. It therefore imports nothing but the standard library, and nothing
of this package. It is the parent of every sandbox: when it goes, they go (``bwrap
--die-with-parent``); when the orchestrator goes, it thaws, ends and removes what is left, and goes.

Requests and answers are JSON behind a four-byte length, on the socket at file descriptor 0;
descriptors travel with the length. See `launcher_client` for the other end.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import termios
import time

# os.execvpe imports it to search PATH, which a process that has joined a sandbox cannot do any more.
import warnings  # noqa: F401
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# Constants of the kernel: linux/sched.h, linux/prctl.h, linux/mount.h, linux/capability.h.
CLONE_VM = 0x00000100
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PARENT = 0x00008000
ALL_BUT_PID_NAMESPACE = (
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
)
ALL_NAMESPACES = ALL_BUT_PID_NAMESPACE | CLONE_NEWPID
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_NOSUID_NODEV = 2 | 4
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
OPEN_TREE_CLONE_CLOEXEC = 1 | os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_IDMAP = 0x00100000
# asm-generic/ioctls.h: the lock of a new terminal, and its number.
TIOCSPTLCK = 0x40045431
TIOCGPTN = 0x80045430
# These three have the same number on every architecture; clone does not.
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_MOUNT_SETATTR = 442
SYS_CLONE = {"x86_64": 56, "aarch64": 220}

# Docker's words for the same: not found, found but not runnable (exit status of POSIX shells).
NOT_FOUND = 127
NOT_RUNNABLE = 126

# Of -1000 to 1000 (proc_pid_oom_score_adj(5)).
COMMAND_OOM_SCORE = "500"

# bwrap's exit status where it gives up.
BWRAP_FAILED = 1
# Descriptors are copied by each fork, so that it takes as long as there are many.
KEPT_ID_MAPS = 16
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STACK_BYTES = 65536

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """Return the result of a libc call, or raise OSError saying `what` failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


class SockFprog(ctypes.Structure):
    """A seccomp filter, as the kernel takes it (struct sock_fprog)."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class Confinement:
    """Gives up, in a process that has joined a sandbox, all that the sandbox's main process lacks."""

    def __init__(self, seccomp_filter: bytes) -> None:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
            self._last_capability = int(file.read())
        self._program = SockFprog(len(seccomp_filter) // 8, seccomp_filter)
        self._header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
        self._no_capabilities = (ctypes.c_uint32 * 6)()

    def apply(self) -> None:
        """Confine the calling process for good. Called between joining the namespaces and execve."""
        os.setsid()
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        for capability in range(self._last_capability + 1):
            check(libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "drop the bounding set")
        check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "clear ambient capabilities")
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs")
        check(libc.capset(self._header, self._no_capabilities), "drop capabilities")
        check(
            libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(self._program), 0, 0),
            "install the seccomp filter",
        )


class Launcher:
    """Serves one orchestrator until the socket to it closes or it dies."""

    def __init__(self, connection: socket.socket, settings: dict[str, Any]) -> None:
        self._connection = connection
        self._filter_path: str = settings["seccomp_filter"]
        with open(self._filter_path, "rb") as file:
            self._confinement = Confinement(file.read())
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._clone = SYS_CLONE[os.uname().machine]
        self._own = {
            kind: os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            for kind, name in ((CLONE_NEWPID, "pid"), (CLONE_NEWUTS, "uts"))
        }
        # Only root may join one of a sandbox without its user namespace, from which nobody comes back.
        self._comes_back = libc.setns(self._own[CLONE_NEWPID], CLONE_NEWPID) == 0
        self._running: dict[int, int] = {}
        self._remains: dict[int, dict[str, Any]] = {}
        self._id_maps: dict[int, int] = {}

    def serve(self) -> None:
        """Answer requests until the orchestrator is gone, then clean up after it."""
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Blocked, too: one that is sent to a command before it has undone this waits, and is not lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
        for ignored in IGNORED:
            signal.signal(ignored, signal.SIG_IGN)
        parent = os.pidfd_open(os.getppid())
        poll = select.poll()
        for descriptor in (self._connection.fileno(), wake_read, parent):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wake_read in ready:
                with suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                self._reap()
            if self._connection.fileno() in ready and not self._answer():
                break
            if parent in ready:
                break
        self._clean_up()

    def _answer(self) -> bool:
        """Take one request, do it, and tell whether there may be more."""
        try:
            head, ancillary, _, _ = self._connection.recvmsg(
                4, socket.CMSG_SPACE(5 * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            # The orchestrator was killed before it had read all that it was told.
            return False
        if len(head) < 4:
            return False
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        body = self._receive(struct.unpack("=I", head)[0])
        if body is None:
            return False
        request: dict[str, Any] = json.loads(body)
        for key in request["gone"]:
            self._remains.pop(key, None)
        try:
            perform = getattr(self, "_do_" + request["do"])
            self._tell(request["id"], pid=perform(request, list(descriptors)))
        except OSError as error:
            self._tell(request["id"], error=str(error), errno=error.errno)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _receive(self, size: int) -> bytes | None:
        body = bytearray()
        while len(body) < size:
            try:
                chunk = self._connection.recv(size - len(body))
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            body += chunk
        return bytes(body)

    def _tell(self, request_id: int, **answer: object) -> None:
        body = json.dumps({"id": request_id, **answer}).encode()
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(struct.pack("=I", len(body)) + body)

    def _reap(self) -> bool:
        """Take note of the processes that have ended; tell whether there are others."""
        orphaned = False
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                if orphaned:
                    self._end_orphans()
                return True
            request_id = self._running.pop(pid, None)
            if request_id in self._remains and (
                os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == BWRAP_FAILED
            ):
                orphaned = True
            if request_id is not None:
                self._tell(
                    request_id,
                    status=os.waitstatus_to_exitcode(status),
                    # Blocks of 512 bytes (getrusage(2)).
                    usage=[used.ru_utime + used.ru_stime, used.ru_inblock * 512, used.ru_oublock * 512],
                )

    def _end_orphans(self) -> None:
        """End each PID 1 whose bwrap has ended before the one could ask to end with the other.

        One that ends by itself ends after its PID 1.
        """
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            orphans = set(map(int, file.read().split())) - self._running.keys()
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)

    # Starting a sandbox

    def _do_start(self, request: dict[str, Any], descriptors: list[int]) -> int:
        id_map = self._id_map(request["uid"]) if request["uid"] is not None else None
        pid = os.fork()
        if pid == 0:
            try:
                self._become_sandbox(request, descriptors, id_map)
            except BaseException as error:
                os.write(descriptors[0], f"launcher: {error}\n".encode())
            finally:
                os._exit(NOT_RUNNABLE)
        self._running[pid] = request["id"]
        self._remains[request["id"]] = request["remains"]
        return pid

    def _become_sandbox(self, request: dict[str, Any], descriptors: list[int], id_map: int | None) -> None:
        for path in request["cgroups"]:
            os.write(os.open(path, os.O_WRONLY | os.O_CLOEXEC), b"0")
        os.setsid()
        # Above every number that is assigned below.
        log, *others = (duplicate_high(descriptor) for descriptor in descriptors)
        others.append(duplicate_high(os.open(self._filter_path, os.O_RDONLY)))
        if request["idle"]:
            others.append(duplicate_high(os.open(request["idle"], os.O_PATH)))
        restore_signals()
        if id_map is not None:
            self._mount_layers(request["mounts"], id_map)
            os.setresgid(request["uid"], request["uid"], request["uid"])
            os.setresuid(request["uid"], request["uid"], request["uid"])
        sources = (self._null, log, log, *others)
        for number, source in zip((0, 1, 2, *request["numbers"]), sources, strict=True):
            os.dup2(source, number)
        set_limits(request["rlimits"])
        if request["cpus"]:
            os.sched_setaffinity(0, request["cpus"])
        os.umask(0o022)
        os.execve(request["argv"][0], request["argv"], request["env"])

    def _mount_layers(self, mounts: dict[str, Any], id_map: int) -> None:
        """Put what the sandbox is made of where its user can reach it, in a mount namespace of its own.

        The image's owners are mapped: what root owns on disk belongs to the sandbox's user, its root.
        """
        check(libc.unshare(CLONE_NEWNS), "unshare the mount namespace")
        check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")
        base: str = mounts["base"]
        check(libc.mount(b"tmpfs", base.encode(), b"tmpfs", MS_NOSUID_NODEV, b"mode=755"), f"mount on {base}")
        for source, name in mounts["binds"]:
            target = f"{base}/{name}"
            os.mkdir(target, 0o755)
            check(libc.mount(source.encode(), target.encode(), None, MS_BIND, None), f"bind {name}")
        image = base + "/image"
        os.mkdir(image, 0o755)
        tree = check(
            libc.syscall(SYS_OPEN_TREE, AT_FDCWD, mounts["image"].encode(), OPEN_TREE_CLONE_CLOEXEC),
            "open the image",
        )
        attributes = struct.pack("=QQQQ", MOUNT_ATTR_IDMAP, 0, 0, id_map)
        check(
            libc.syscall(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attributes, len(attributes)),
            "map the owners of the image (needs Linux 5.19 and a file system that supports ID-mapped mounts)",
        )
        check(
            libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, image.encode(), MOVE_MOUNT_F_EMPTY_PATH),
            "mount the image",
        )

    def _id_map(self, uid: int) -> int:
        """Return a user namespace that maps root to `uid`; the last ones are kept for the next sandbox."""
        if uid not in self._id_maps:
            if len(self._id_maps) == KEPT_ID_MAPS:
                os.close(self._id_maps.pop(next(iter(self._id_maps))))
            self._id_maps[uid] = make_id_map(uid)
        return self._id_maps[uid]

    # Running a command in a sandbox

    def _do_exec(self, request: dict[str, Any], descriptors: list[int]) -> int:
        cgroups = [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in request["cgroups"]]
        try:
            enter = self._fork_into if self._comes_back else self._fork_from_within
            pid = enter(request, descriptors, cgroups)
        finally:
            for descriptor in cgroups:
                os.close(descriptor)
        self._running[pid] = request["id"]
        return pid

    def _fork_into(self, request: dict[str, Any], descriptors: list[int], cgroups: list[int]) -> int:
        """Fork a child that is in the sandbox's PID namespace, and that joins the others itself."""
        with self._in(descriptors[0], CLONE_NEWPID):
            pid = os.fork()
            if pid == 0:
                self._become_command(request, descriptors, cgroups, ALL_BUT_PID_NAMESPACE)
        return pid

    @contextmanager
    def _in(self, init: int, namespace: int) -> Iterator[None]:
        """Be in a namespace of a sandbox, for a PID namespace what is forked, for the length of the block."""
        check(libc.setns(init, namespace), "join the sandbox")
        try:
            yield
        finally:
            check(libc.setns(self._own[namespace], namespace), "leave the sandbox")

    def _fork_from_within(self, request: dict[str, Any], descriptors: list[int], cgroups: list[int]) -> int:
        """Have a child join the sandbox and leave there a child of its own, whose parent is the launcher."""
        pid_read, pid_write = os.pipe2(os.O_CLOEXEC)
        try:
            middle = os.fork()
            if middle == 0:
                self._join(pid_write, request, descriptors, cgroups)
            os.close(pid_write)
            pid_write = -1
            message = os.read(pid_read, 4096)
            os.waitpid(middle, 0)
        finally:
            for descriptor in (pid_read, pid_write):
                if descriptor >= 0:
                    os.close(descriptor)
        if not message.isdigit():
            raise OSError(errno.EIO, message.decode() or "the process that joins the sandbox died")
        return int(message)

    def _join(
        self,
        pid_write: int,
        request: dict[str, Any],
        descriptors: list[int],
        cgroups: list[int],
    ) -> None:
        try:
            join(descriptors[0], ALL_NAMESPACES)
            # Only a child is in the joined PID namespace; CLONE_PARENT spares a process that waits for it.
            pid = check(
                libc.syscall(self._clone, CLONE_PARENT | signal.SIGCHLD, None, None, None, None), "clone"
            )
            if pid == 0:
                self._become_command(request, descriptors, cgroups, 0)
            os.write(pid_write, str(pid).encode())
        except BaseException as error:
            os.write(pid_write, str(error).encode() or b"?")
        finally:
            os._exit(0)

    def _become_command(
        self, request: dict[str, Any], descriptors: list[int], cgroups: list[int], namespaces: int
    ) -> None:
        init, report, *standard = descriptors
        try:
            if namespaces:
                join(init, namespaces)
            for descriptor in cgroups:
                os.write(descriptor, b"0")
            set_limits(request["rlimits"])
            if request["cpus"]:
                os.sched_setaffinity(0, request["cpus"])
            restore_signals()
            os.umask(0o022)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            if request["terminal"]:
                standard = [open_terminal(report, *request["terminal"])] * 3
            for number, source in enumerate(standard):
                os.dup2(source, number)
            self._confinement.apply()
            if request["terminal"]:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        except BaseException as error:
            os.write(report, str(error).encode())
            os._exit(NOT_RUNNABLE)
        command = request["argv"]
        try:
            change_directory(request["cwd"], request["cwd_asked"])
            os.execvpe(command[0], command, request["env"])
        except OSError as error:
            what = error.filename if error.filename == request["cwd_asked"] else command[0]
            missing = error.errno in (errno.ENOENT, errno.ENOTDIR) and what == command[0]
            os.write(2, f"flash-sandbox: {what}: {os.strerror(error.errno or 0)}\n".encode())
            os._exit(NOT_FOUND if missing else NOT_RUNNABLE)
        finally:
            os._exit(NOT_RUNNABLE)

    def _do_signal(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Send a signal to a process that was started and has not been reaped yet."""
        for pid, key in self._running.items():
            if key == request["process"]:
                os.kill(pid, request["signal"])
        return 0

    def _do_name(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Give a sandbox another host name."""
        if self._comes_back:
            with self._in(descriptors[0], CLONE_NEWUTS):
                socket.sethostname(request["name"])
            return 0
        pid = os.fork()
        if pid == 0:
            try:
                check(libc.setns(descriptors[0], CLONE_NEWUSER | CLONE_NEWUTS), "join the sandbox")
                socket.sethostname(request["name"])
                os._exit(0)
            finally:
                os._exit(NOT_RUNNABLE)
        if os.waitpid(pid, 0)[1] != 0:
            raise OSError(errno.EIO, "the sandbox could not be given its name")
        return 0

    # The end

    def _clean_up(self) -> None:
        """End every sandbox that is left, thaw those that are frozen, and remove their cgroups."""
        for pid in self._running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for remains in self._remains.values():
            for path, text in remains["thaw"]:
                with suppress(OSError), open(path, "w", encoding="ascii") as file:
                    file.write(text)
        deadline = time.monotonic() + 2
        while self._reap() and time.monotonic() < deadline:
            time.sleep(0.005)
        for remains in self._remains.values():
            for path in remains["cgroups"]:
                remove_cgroup(path, deadline)


def duplicate_high(descriptor: int) -> int:
    """Return a copy of a descriptor that is none of the low numbers which are assigned by hand."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 32)


def restore_signals() -> None:
    """Undo the launcher's own treatment of signals, which execve would hand on."""
    for number in (*IGNORED, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)


def open_terminal(report: int, rows: int, columns: int) -> int:
    """Open a new terminal of the sandbox's own, and hand its other end over through a socket."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, struct.pack("i", 0)))
    terminal = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with socket.socket(fileno=os.dup(report)) as sender:
        socket.send_fds(sender, [b"\0"], [master])
    os.close(master)
    return terminal


def join(init: int, namespaces: int) -> None:
    """Join namespaces of the sandbox whose PID 1 `init` is a descriptor of."""
    # What runs out of memory is to be the command, not the sandbox's PID 1.
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(COMMAND_OOM_SCORE)
    check(libc.setns(init, namespaces), "join the sandbox")


def change_directory(usual: str, asked: str) -> None:
    """Change to the directory that was asked for, or to the usual one."""
    if asked:
        os.chdir(asked)
        return
    try:
        os.chdir(usual)
    except OSError:
        # The sandbox may have removed it; what is asked for may well put it back.
        os.chdir("/")


def set_limits(limits: list[list[int]]) -> None:
    """Set resource limits, each a number of the resource, lowered to what the caller may have."""
    for number, value in limits:
        _, hard = resource.getrlimit(number)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))


def make_id_map(uid: int) -> int:
    """Return a descriptor of a new user namespace that maps its root to `uid` and nothing else."""
    # A child is in it that shares this memory, where a fork would copy it (4 ms), and that does nothing but
    # wait, in libc, on a stack of its own.
    stack = ctypes.create_string_buffer(STACK_BYTES)
    top = (ctypes.addressof(stack) + STACK_BYTES) & ~15
    flags = CLONE_VM | CLONE_NEWUSER | signal.SIGCHLD
    pid = check(libc.clone(libc.pause, ctypes.c_void_p(top), flags, None), "make a user namespace")
    try:
        for kind in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{kind}", "w", encoding="ascii") as file:
                file.write(f"0 {uid} 1")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def remove_cgroup(path: str, deadline: float) -> None:
    """End what a cgroup and those below it hold and remove them, deepest first, until `deadline`."""
    for directory, _, _ in os.walk(path, topdown=False):
        while True:
            with suppress(OSError), open(directory + "/cgroup.procs", encoding="ascii") as file:
                for pid in map(int, file.read().split()):
                    # 0 is a process of another PID namespace; here it would mean this process's own group.
                    if pid > 0:
                        os.kill(pid, signal.SIGKILL)
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.005)
            else:
                break


def main() -> None:
    """Serve on the socket at file descriptor 0, with the settings in the first argument."""
    connection = socket.socket(fileno=duplicate_high(0))
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    # Denied to all but the host's root.
    with suppress(PermissionError):
        os.setgroups([])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A sandbox's PID 1 whose bwrap was ended first is reaped here, not by the host's init some time later.
    check(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "become a subreaper")
    Launcher(connection, json.loads(sys.argv[1])).serve()


if __name__ == "__main__":
    main()
