"""A Docker Engine of the tests' own: its socket, its files and its network are nobody else's.

It runs in a network namespace, so that its bridge and its packet filter are not this host's, and in a mount
namespace, so that no mount of it outlives it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import httpx
from inside import wait_until

BUSYBOX: Final = Path("/bin/busybox")
IMAGE: Final = "busybox:latest"
_NAMESPACES: Final = ("unshare", "--net", "--mount", "--propagation", "private", "--")
_PATIENCE_SECONDS: Final = 60.0
_DISK: Final = "disk"


def missing() -> str | None:
    """Return what this host lacks to run an engine, or None."""
    if os.geteuid() != 0:
        return "dockerd needs root"
    for program in ("dockerd", "containerd", "iptables", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"there is no {program} on PATH (on Debian: apt-get install docker.io iptables)"
    if not BUSYBOX.is_file():
        return "there is no static busybox (on Debian: apt-get install busybox-static)"
    return None


@dataclass
class DockerEngine:
    """A running engine.

    Attributes:
        directory: Where all of its files are.
        host: Its address, as in ``$DOCKER_HOST``.
        http: A client of its API.
        process: The engine.
    """

    directory: Path
    host: str
    http: httpx.Client
    process: subprocess.Popen[bytes]

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Make a call of the engine's API and return its answer."""
        response = self.http.request(method, path, **options)
        assert response.status_code < 400, response.text
        return response.json() if response.headers.get("content-type") == "application/json" else None

    def import_image(self, name: str, root: bytes | IO[bytes]) -> None:
        """Have an image of this name, which has a tag, whose files are those of a tar file."""
        repository, _, tag = name.partition(":")
        query = {"fromSrc": "-", "repo": repository, "tag": tag}
        headers = {"content-type": "application/x-tar"}
        self.call("POST", "/images/create", params=query, content=root, headers=headers)

    def containers(self, **labels: str) -> list[dict[str, Any]]:
        """Return every container that has all of the labels, whatever state it is in."""
        wanted = [f"flash-sandbox.{name}={value}" for name, value in labels.items()]
        filters = json.dumps({"label": wanted})
        found: list[dict[str, Any]] = self.call(
            "GET", "/containers/json", params={"all": "true", "filters": filters}
        )
        return found

    def inspect(self, sandbox_id: str) -> dict[str, Any]:
        """Return what the engine tells of a sandbox's container."""
        found: dict[str, Any] = self.call("GET", f"/containers/flash-sandbox-{sandbox_id}/json")
        return found

    def root_of(self, sandbox_id: str) -> Path:
        """Return where the files of a sandbox that runs can be looked at."""
        return Path(f"/proc/{self.inspect(sandbox_id)['State']['Pid']}/root")

    def in_network(self, *command: str) -> list[str]:
        """Return a command line that runs a command in the engine's network namespace."""
        return ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", "--", *command]

    def stop(self) -> None:
        """End the engine as a service manager does. It ends its containers."""
        self.process.terminate()
        self.process.wait(_PATIENCE_SECONDS)

    def start_again(self) -> None:
        """Start it anew on the same files and socket."""
        self.process = _spawn(self.directory)
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Return once the engine answers; fail with its log where it ends instead."""

        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"dockerd ended: {(self.directory / 'log').read_text()[-2000:]}")
            # httpx leaves the socket of a connection that fails to the garbage collector.
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self.directory / "docker.sock"))
                except OSError:
                    return False
            with suppress(httpx.TransportError):
                return self.http.get("/_ping").status_code == 200
            return False

        wait_until(answers, "dockerd to answer", patience=_PATIENCE_SECONDS)


@contextmanager
def running_engine(
    oci_runtimes: Mapping[str, str] | None = None, *, on_btrfs: bool = False
) -> Iterator[DockerEngine]:
    """Run an engine that has the busybox image.

    Args:
        oci_runtimes: OCI runtimes that it lists beside its own, each with the path of its program.
        on_btrfs: Whether its files lie on a btrfs of its own, where it can limit what containers write.
    """
    # Short: the path of a socket in it has room for 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="fsb-docker-"))
    listed = {name: {"path": path} for name, path in (oci_runtimes or {}).items()}
    (directory / "daemon.json").write_text(json.dumps({"runtimes": listed}))
    if on_btrfs:
        (directory / "data").mkdir()
        with (directory / _DISK).open("wb") as disk:
            disk.truncate(1024**3)
        subprocess.run(["mkfs.btrfs", "-q", directory / _DISK], check=True, capture_output=True)
    transport = httpx.HTTPTransport(uds=str(directory / "docker.sock"))
    process = _spawn(directory)
    try:
        with httpx.Client(transport=transport, base_url="http://docker", timeout=_PATIENCE_SECONDS) as http:
            engine = DockerEngine(directory, f"unix://{directory}/docker.sock", http, process)
            engine.wait_until_it_answers()
            engine.import_image(IMAGE, busybox_root())
            try:
                yield engine
            finally:
                process = engine.process
                if process.poll() is None:
                    for container in engine.containers():
                        http.delete(f"/containers/{container['Id']}", params={"force": "true", "v": "true"})
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _spawn(directory: Path) -> subprocess.Popen[bytes]:
    dockerd = (
        "dockerd",
        f"--host=unix://{directory}/docker.sock",
        f"--data-root={directory}/data",
        f"--exec-root={directory}/exec",
        f"--pidfile={directory}/pid",
        f"--config-file={directory}/daemon.json",
        # Where the host's own containerd runs, the engine uses that one.
        f"--containerd-namespace={_namespace(directory)}",
        f"--containerd-plugins-namespace={_namespace(directory)}-plugins",
    )
    (directory / "docker.sock").unlink(missing_ok=True)
    disk = directory / _DISK
    mount = f"mount -o loop {disk} {directory}/data && " if disk.exists() else ""
    script = f'{mount}{BUSYBOX} ip link set lo up && exec "$0" "$@"'
    with (directory / "log").open("ab") as log:
        return subprocess.Popen(
            [*_NAMESPACES, "sh", "-c", script, *dockerd],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for the tests, which then end the engine.
            start_new_session=True,
        )


def _namespace(directory: Path) -> str:
    """Return a name for an engine in containerd, which takes no underscore at the end, or two of them."""
    return directory.name.encode().hex()


def busybox_root() -> bytes:
    """Return a root file system as a tar file: busybox under all of its names, and little more."""
    names = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, mode in {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777}.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        tar.add(BUSYBOX.resolve(), "bin/busybox")
        for name in names:
            if name != "busybox":
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
        passwd = b"root:x:0:0:root:/root:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size, entry.mode = len(passwd), 0o644
        tar.addfile(entry, io.BytesIO(passwd))
    return buffer.getvalue()
