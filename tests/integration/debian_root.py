"""A Debian root file system, made of the packages that this host has installed, without the network."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

BASE: Final = (
    "apt", "base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "git", "grep", "gzip",
    "hostname", "libc-bin", "libpam-runtime", "login", "mawk", "passwd", "python3", "python3-pip", "sed",
    "tar", "util-linux",
)  # fmt: skip
"""Packages of a small system."""

TOOLS: Final = ("gcc", "libc6-dev", "nodejs")
"""Packages of programs that are large: a compiler with sanitizers, Node. Java's is found by `java`."""

_DPKG: Final = Path("/var/lib/dpkg")
_KINDS: Final = (
    "recommends", "suggests", "conflicts", "breaks", "replaces", "enhances",
)  # fmt: skip
# Nothing that the tests run needs these.
_LEFT_OUT: Final = re.compile(
    r"/usr/share/(doc|man|info|locale|lintian|perl/[^/]*/unicore|java-config-archive)(/|$)|/lto1$|/lto-dump$"
    r"|/lib(tsan|ubsan|lsan|itm|gprofng|mvec)[^/]*$|/libc\.a$|/__pycache__(/|$)|/node_modules/(npm|corepack)/"
    r"|/test(s|)/|/perl/[^/]*/pod/"
)
# What the maintainers' scripts make, or the administrator.
_MADE: Final = ("/etc/alternatives/*", "/etc/pam.d/common-*", "/etc/ld.so.cache", "/etc/nsswitch.conf")
_LINKS: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DIRECTORIES: Final = {
    "dev": 0o755, "etc/apt/apt.conf.d": 0o755, "home": 0o755, "mnt": 0o755, "proc": 0o755, "root": 0o700,
    "run": 0o755, "sys": 0o755, "tmp": 0o1777, "var/lib/dpkg/info": 0o755, "var/mail": 0o755,
    "var/tmp": 0o1777,
}  # fmt: skip


def missing() -> str | None:
    """Return what this host lacks to make one, or None."""
    if shutil.which("dpkg-query") is None or shutil.which("apt-cache") is None:
        return "this is no Debian"
    installed = {name.partition(":")[0] for name in _installed()}
    names = [name for name in (*BASE, *TOOLS) if name not in installed]
    if not java():
        names.append("default-jre-headless")
    return f"the packages {', '.join(names)} are not installed" if names else None


def java() -> str:
    """Return the package with a Java that this host has, or an empty text."""
    return next((name for name in _installed() if re.search(r"^openjdk-\d+-jre-headless\b", name)), "")


def make(target: Path, packages: Iterable[str]) -> None:
    """Write a root file system with these packages, and all that they need, as a tar file."""
    names = _closure(packages)
    listed = {_real(path) for name in names for path in _files(name)}
    listed |= {str(path) for pattern in _MADE for path in Path("/").glob(pattern[1:])}
    # Docker takes no name twice.
    additions = list(_additions(names))
    listed -= {f"/{entry.name}" for entry, _ in additions}
    kept = [path for path in sorted(listed) if not _LEFT_OUT.search(path) and os.path.lexists(path)]
    command = ["tar", "-c", "-f", str(target), "--no-recursion", "--null", "-T", "-"]
    paths = "\0".join(path.lstrip("/") for path in kept)
    subprocess.run(command, cwd="/", input=paths, text=True, check=True, capture_output=True)
    with tarfile.open(target, "a") as tar:
        for entry, content in additions:
            tar.addfile(entry, io.BytesIO(content))


def _installed() -> list[str]:
    command = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${binary:Package}\n"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[1] for line in lines if line.startswith("ii")]


def _closure(packages: Iterable[str]) -> set[str]:
    """Return the names, as dpkg has them, of packages and all that they depend on."""
    options = [f"--no-{kind}" for kind in _KINDS]
    command = ["apt-cache", "depends", "--recurse", "--installed", *options, *packages]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wanted = {line.partition(":")[0] for line in text.splitlines() if line[:1].isalnum()}
    return {name for name in _installed() if name.partition(":")[0] in wanted}


def _files(name: str) -> list[str]:
    path = _DPKG / "info" / f"{name}.list"
    if not path.exists():
        path = path.with_name(f"{name.partition(':')[0]}.list")
    return [line for line in path.read_text().splitlines() if line != "/."]


def _real(path: str) -> str:
    """Return where a file of a package is: the list may have it in /bin, which is a link."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _additions(names: set[str]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for name in _LINKS:
        if os.path.islink(f"/{name}"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(f"/{name}")
            yield entry, b""
    for path in _files(java()) if java() in names else ():
        # A link that is in no package: of several Javas one is chosen.
        if path.endswith("/bin/java"):
            entry = tarfile.TarInfo("usr/bin/java")
            entry.type, entry.linkname = tarfile.SYMTYPE, path
            yield entry, b""
    for name, mode in _DIRECTORIES.items():
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        yield entry, b""
    users = Path("/usr/share/base-passwd/passwd.master").read_text()
    shadow = "".join(f"{line.partition(':')[0]}:*:19000:0:99999:7:::\n" for line in users.splitlines())
    texts = {
        "etc/passwd": users.replace(":*:", ":x:") + "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n",
        "etc/group": Path("/usr/share/base-passwd/group.master").read_text(),
        "etc/shadow": shadow + "_apt:*:19000:0:99999:7:::\n",
        # As debootstrap leaves it: the name servers of whoever has made the image.
        "etc/resolv.conf": "nameserver 192.0.2.1\n",
        "var/lib/dpkg/status": _status(names),
    }
    for name, text in texts.items():
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(text.encode()), 0o640 if name == "etc/shadow" else 0o644
        yield entry, text.encode()


def _status(names: set[str]) -> str:
    wanted = {name.partition(":")[0] for name in names}
    stanzas = (_DPKG / "status").read_text().split("\n\n")
    return "".join(
        f"{stanza}\n\n" for stanza in stanzas if stanza.partition("\n")[0].removeprefix("Package: ") in wanted
    )
