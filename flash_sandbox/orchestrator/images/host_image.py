"""The root file system of image ``host``: the host's programs under an /etc of its own.

The host's /usr is shown as it is. Of its /etc a sandbox gets copies of what `SHOWN` names, and of these only
what every user of the host may read; whatever else /etc holds may tell of the host's users or hold a secret.
"""

from __future__ import annotations

import errno
import glob
import itertools
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..archives.supplied import supply

__all__ = ["ENVIRONMENT", "SHOWN", "make_host_image"]

# First where ``npm -g`` and ``pip`` put their programs, since /usr is read-only.
ENVIRONMENT: Final = (
    "PATH=/opt/bin:/root/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "NPM_CONFIG_PREFIX=/opt",
)
"""Environment of the image."""

SHOWN: Final[dict[str, tuple[str, ...]]] = {
    "programs": ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"),
    "release": ("*-release", "*_version", "issue", "issue.net"),
    # Certificates by name: a file of any other name may be the host's own, with the host's name in it.
    "certificates": (
        "ca-certificates", "ca-certificates.conf", "crypto-policies", "pki/ca-trust/extracted", "pki/java",
        "pki/tls/cert.pem", "pki/tls/certs/ca-bundle*.crt", "pki/tls/openssl.cnf", "ssl/cert.pem",
        "ssl/certs/*.0", "ssl/certs/ca-bundle*.crt", "ssl/certs/ca-certificates.crt", "ssl/certs/java",
        "ssl/openssl.cnf",
    ),
    "fonts and graphics": (
        "ImageMagick-*", "OpenCL", "X11/rgb.txt", "fonts", "ghostscript", "glvnd", "papersize", "vulkan",
    ),
    "languages": (
        "R/Makeconf", "R/Renviron", "R/javaconf", "R/ldpaths", "R/repositories", "java", "java-*",
        "java.conf", "maven/logging", "maven/m2.conf", "perl", "python3", "python3.*", "texmf",
    ),
    "names and types": (
        "ethertypes", "gai.conf", "host.conf", "locale.alias", "magic", "magic.mime", "mailcap",
        "mime.types", "netconfig", "protocols", "rpc", "services", "sgml", "terminfo", "xml",
    ),
    "users": ("adduser.conf", "default/useradd", "deluser.conf", "login.defs", "shells"),
    "other": ("dictionaries-common", "groff", "inputrc", "manpath.config", "xattr.conf"),
}  # fmt: skip
"""Names in /etc, by what they are for; ``*`` stands for anything, and of a directory all is meant."""

_SYSTEM_DIRECTORIES: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_EMPTY_DIRECTORIES: Final = (
    "dev", "etc", "etc/pam.d", "etc/skel", "home", "media", "mnt", "opt", "opt/bin", "proc", "root", "run",
    "run/lock", "srv", "sys", "tmp", "usr", "var", "var/cache", "var/lib", "var/log", "var/mail", "var/spool",
    "var/tmp",
)  # fmt: skip
_MODES: Final = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777, "run/lock": 0o1777}
_LINKS: Final = {"var/run": "/run", "var/lock": "/run/lock", "etc/localtime": "/usr/share/zoneinfo/Etc/UTC"}

# Debian's numbers, which most systems share (base-passwd).
_USERS: Final = (
    ("root", 0, 0, "/root", "/bin/sh"),
    ("daemon", 1, 1, "/usr/sbin", "/usr/sbin/nologin"),
    ("bin", 2, 2, "/bin", "/usr/sbin/nologin"),
    ("sys", 3, 3, "/dev", "/usr/sbin/nologin"),
    ("mail", 8, 8, "/var/mail", "/usr/sbin/nologin"),
    ("www-data", 33, 33, "/var/www", "/usr/sbin/nologin"),
    ("nobody", 65534, 65534, "/nonexistent", "/usr/sbin/nologin"),
)
_GROUPS: Final = {
    "root": 0, "daemon": 1, "bin": 2, "sys": 3, "adm": 4, "tty": 5, "disk": 6, "mail": 8, "www-data": 33,
    "shadow": 42, "utmp": 43, "staff": 50, "users": 100, "nogroup": 65534,
}  # fmt: skip
_PAM: Final = (
    "# In a sandbox, root becomes whom it likes; nobody else becomes anybody.\n"
    "auth required pam_rootok.so\n"
    "account required pam_permit.so\n"
    "password required pam_permit.so\n"
    "session required pam_permit.so\n"
)
_FILES: Final = {
    "etc/passwd": "".join(f"{user}:x:{uid}:{gid}::{home}:{sh}\n" for user, uid, gid, home, sh in _USERS),
    "etc/group": "".join(f"{name}:x:{gid}:\n" for name, gid in _GROUPS.items()),
    # No password is right.
    "etc/shadow": "".join(f"{name}:*:19000:0:99999:7:::\n" for name, *_ in _USERS),
    "etc/gshadow": "".join(f"{name}:*::\n" for name in _GROUPS),
    "etc/subuid": "",
    "etc/subgid": "",
    "etc/timezone": "Etc/UTC\n",
    "etc/pam.d/other": _PAM,
}  # fmt: skip
_LED_TO: Final = ("/usr/", "/etc/", *(f"/{name}/" for name in _SYSTEM_DIRECTORIES))
_ENTERED: Final = stat.S_IROTH | stat.S_IXOTH
_PRIVATE_FILES: Final = ("etc/shadow", "etc/gshadow")


def make_host_image(lower: Path, etc: Path = Path("/etc")) -> tuple[str, ...]:
    """Make the part of image ``host`` that is no directory of the host's; return those that are.

    Args:
        lower: The directory to make.
        etc: The host's /etc.
    """
    for name in ("", *_EMPTY_DIRECTORIES):
        _make_directory(str(lower / name), _MODES.get(name, 0o755))
    for name, target in _LINKS.items():
        (lower / name).symlink_to(target)
    _copy_shown(str(etc), str(lower / "etc"))
    for name, text in _FILES.items():
        (lower / name).write_text(text)
        (lower / name).chmod(0o600 if name in _PRIVATE_FILES else 0o644)
    supply(lower)
    _add_python(lower)
    return _system_directories(lower)


def _copy_shown(etc: str, target: str) -> None:
    """Copy what `SHOWN` names, if every user of the host may read it."""
    for pattern in itertools.chain(*SHOWN.values()):
        for name in glob.glob(pattern, root_dir=etc):
            with suppress(OSError):
                if _is_open_above(etc, name):
                    for parent in reversed(Path(name).parents[:-1]):
                        _make_directory(f"{target}/{parent}")
                    _copy(f"{etc}/{name}", f"/etc/{os.path.dirname(name)}", f"{target}/{name}")


def _make_directory(path: str, mode: int = 0o755) -> None:
    """Make a directory, if it is not there, of a mode that no umask changes."""
    with suppress(FileExistsError):
        os.mkdir(path)
        os.chmod(path, mode)


def _is_open_above(etc: str, name: str) -> bool:
    """Tell whether every user may enter the directories between /etc and a name in it."""
    while name := os.path.dirname(name):
        if not os.stat(f"{etc}/{name}").st_mode & stat.S_IXOTH:
            return False
    return True


def _copy(source: str, directory: str, target: str) -> None:
    """Copy a file, a link or a directory that lies in `directory` of the host."""
    try:
        # What is looked at is what is copied, whatever the name means a moment later.
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            _copy_link(os.readlink(source), directory, target)
        return
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode) and mode & _ENTERED == _ENTERED:
            _make_directory(target)
            for name in os.listdir(descriptor):
                _copy(f"{source}/{name}", f"{directory}/{os.path.basename(source)}", f"{target}/{name}")
        elif stat.S_ISREG(mode) and mode & stat.S_IROTH:
            with open(target, "xb") as copy, open(descriptor, "rb", closefd=False) as original:
                shutil.copyfileobj(original, copy)
                os.fchmod(copy.fileno(), mode & 0o755)
    finally:
        os.close(descriptor)


def _copy_link(link: str, directory: str, target: str) -> None:
    """Copy a link, unless it tells of anything but the host's programs and what may be shown."""
    if os.path.normpath(os.path.join(directory, link)).startswith(_LED_TO):
        with suppress(FileExistsError):
            os.symlink(link, target)


def _system_directories(lower: Path) -> tuple[str, ...]:
    """Make the directories and links beside /usr as they are on the host; return what is shown of it."""
    shown = ["/usr"]
    for name in _SYSTEM_DIRECTORIES:
        original = Path("/") / name
        if original.is_symlink():
            (lower / name).symlink_to(os.readlink(original))
        elif original.is_dir():
            (lower / name).mkdir()
            shown.append(str(original))
    return tuple(shown)


def _add_python(lower: Path) -> None:
    """Let ``python`` be there, where the host has it as ``python3`` alone."""
    directories = ("/usr/local/bin", "/usr/bin", "/bin")
    if shutil.which("python", path=":".join(directories)) is None:
        found = shutil.which("python3", path=":".join(directories))
        if found is not None:
            (lower / "opt/bin/python").symlink_to(found)
