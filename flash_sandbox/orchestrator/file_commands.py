"""What is done to files by commands in their sandbox, and what is meant where one of these fails.

The commands are scripts for ``/bin/sh`` with the small programs of POSIX, as coreutils or busybox have them.
Whatever path they are given is resolved by the sandbox's own processes, confined as all of them are: nothing
of the host can be reached, whatever the sandbox makes of its links meanwhile. A path is an argument of a
script, never a part of it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import Reason, SandboxError, UnsupportedError, error_for
from .runtimes.base import Ended, Program

__all__ = [
    "DOWNLOAD",
    "LIST",
    "MAKE_DIR",
    "MOVE",
    "READ",
    "REMOVE",
    "STAT",
    "UPLOAD",
    "WRITE",
    "failure",
    "only_changed",
    "only_vanished",
    "script",
]

# The exit statuses of the scripts, besides those of the programs that they run; 80: it is explained.
_STATUSES: Final = {
    81: "is a directory",
    82: "is no regular file",
    83: "there is a directory already",
    84: "there is one already",
    85: "was not written whole",
}
_NOT_FOUND: Final = 127
_NOT_RUNNABLE: Final = 126

# Opening "x/." never waits, whatever x is, and fails as anything else that is done to x would.
_EXPLAIN: Final = """
explain() { cat "$1/." > /dev/null; exit 80; }
"""
_REQUIRE: Final = f"""{_EXPLAIN}
[ -e "$1" ] || [ -L "$1" ] || explain "$1"
"""
_ENTER: Final = f"""{_EXPLAIN}
enter() {{ cd -P "$1" 2> /dev/null || explain "$1"; }}
"""

READ: Final = """
[ -d "$1" ] && exit 81
[ -e "$1" ] && [ ! -f "$1" ] && exit 82
exec cat "$1"
"""
"""Print the file ``$1``."""

WRITE: Final = f"""{_ENTER}
look() {{ find "$1" -maxdepth 0 -printf '%m %U:%G' 2> /dev/null || stat -c '%a %u:%g' "$1" 2> /dev/null; }}
name=$2 new=$3 mode=$4 size=$5
[ "$6" ] && {{ mkdir -p "$1" || exit; }}
enter "$1"
[ -d "./$name" ] && exit 81
[ -e "./$name" ] && [ ! -f "./$name" ] && [ ! -L "./$name" ] && exit 82
umask 077
set -C
trap 'rm -f "./$new"' EXIT
cat > "./$new" || exit
[ "$(($(wc -c < "./$new")))" = "$size" ] || exit 85
if [ -f "./$name" ] && [ ! -L "./$name" ]; then
    was=$(look "./$name") is=$(look "./$new")
    [ "${{was#* }}" = "${{is#* }}" ] || chown "${{was#* }}" "./$new" 2> /dev/null
    [ "$mode" ] || mode=${{was% *}}
fi
chmod "${{mode:-644}}" "./$new" || exit
mv -f "./$new" "./$name" || exit
if [ -e "./$name/$new" ]; then
    # It has become a directory meanwhile.
    rm -f "./$name/$new"
    exit 81
fi
"""
"""Put what is read into the file ``$2`` of the directory ``$1``: it is ``$3`` until it is whole.

It gets the mode ``$4``; where that is empty, that of the file that it replaces. Its owner is kept where that
may be.
"""

_ENTRIES: Final = """
if find / -maxdepth 0 -printf '' 2> /dev/null; then
    if [ "$list" ]; then
        exec find "$1/" -mindepth 1 -maxdepth 1 -printf '%y %s %m %U %G %T@ %f\\0%l\\0'
    fi
    exec find "$1" -maxdepth 0 -printf '%y %s %m %U %G %T@ .\\0%l\\0'
fi
stat -c '' / > /dev/null || exit
printf '\\0'
if [ ! "$list" ]; then
    stat -c '%f %s %u %g %Y .//' "$1" || exit
    printf '\\0'
    if [ -L "$1" ]; then
        printf '.\\0'
        readlink -n "$1"
        printf '\\0'
    fi
    exit
fi
enter "$1"
# A directory that may not be read would look like an empty one.
case $(cat . 2>&1) in
    *denied)
        cat .
        exit 80
        ;;
esac
set -- * .[!.]* ..?*
for name do
    if [ -e "./$name" ] || [ -L "./$name" ]; then
        printf './%s\\0' "$name"
    fi
done | xargs -0 -r stat -c '%f %s %u %g %Y %n//' || status=1
printf '\\0'
for name do
    if [ -L "./$name" ]; then
        printf '%s\\0' "$name"
        readlink -n "./$name"
        printf '\\0'
    fi
done
exit "${status:-0}"
"""
# `file_records` reads what it prints: GNU find's own words, or those of stat after a NUL.

STAT: Final = f"""{_REQUIRE}
list=
{_ENTRIES}
"""
"""Tell what is at ``$1``."""

LIST: Final = f"""{_ENTER}
[ -d "$1" ] || explain "$1"
list=1
{_ENTRIES}
"""
"""Tell what is in the directory ``$1``."""

MAKE_DIR: Final = """
if [ ! "$3" ]; then
    exec mkdir -m "$2" "$1"
fi
[ -d "$1" ] || exec mkdir -p -m "$2" "$1"
"""
"""Make the directory ``$1`` with the permissions ``$2``; where ``$3`` is not empty, those before it, too."""

REMOVE: Final = f"""{_REQUIRE}
if [ -L "$1" ] || [ ! -d "$1" ]; then
    exec rm -f "$1"
fi
if [ "$2" ]; then
    exec rm -rf "$1"
fi
exec rmdir "$1"
"""
"""Remove ``$1``; a directory with all that it holds where ``$2`` is not empty."""

MOVE: Final = f"""{_REQUIRE}
[ -d "$2" ] && exit 83
[ -d "$1" ] && [ ! -L "$1" ] && [ -e "$2" ] && exit 84
exec mv -f "$1" "$2"
"""
"""Give ``$1`` the path ``$2``."""

UPLOAD: Final = f"""{_ENTER}
mkdir -p "$1" || exit 80
enter "$1"
exec tar -x -o -f -
"""
"""Unpack what is read into the directory ``$1``."""

DOWNLOAD: Final = f"""{_ENTER}
if [ -d "$1" ]; then
    enter "$1"
    exec tar -c -f - .
fi
[ -e "$1" ] || explain "$1"
[ -f "$1" ] || exit 82
enter "${{1%/*}}/"
exec tar -c -h -f - "./${{1##*/}}"
"""
"""Pack the directory or file ``$1``."""


class _Meaning(NamedTuple):
    """What the end of a line that a program prints means, as every runtime tells it."""

    printed: str
    reason: Reason
    told: str


_MEANINGS: Final = (
    _Meaning("No such file or directory", Reason.FILE_NOT_FOUND, "no such file or directory"),
    _Meaning("No such file", Reason.FILE_NOT_FOUND, "no such file or directory"),
    _Meaning("Directory nonexistent", Reason.FILE_NOT_FOUND, "no such file or directory"),
    _Meaning("nonexistent directory", Reason.FILE_NOT_FOUND, "no such file or directory"),
    _Meaning("Permission denied", Reason.FILE_DENIED, "permission denied"),
    _Meaning("Operation not permitted", Reason.FILE_DENIED, "operation not permitted"),
    _Meaning("Read-only file system", Reason.FILE_DENIED, "read-only file system"),
    _Meaning("Is a directory", Reason.FILE_CONFLICT, "is a directory"),
    _Meaning("Not a directory", Reason.FILE_CONFLICT, "not a directory"),
    _Meaning("File exists", Reason.FILE_CONFLICT, "there is one already"),
    _Meaning("Directory not empty", Reason.FILE_CONFLICT, "directory not empty"),
    _Meaning("Too many levels of symbolic links", Reason.FILE_CONFLICT, "too many levels of links"),
    _Meaning("Symbolic link loop", Reason.FILE_CONFLICT, "too many levels of links"),
    _Meaning("No space left on device", Reason.FILE_CONFLICT, "no space left on device"),
    _Meaning("Disk quota exceeded", Reason.FILE_CONFLICT, "no space left on device"),
    _Meaning("Device or resource busy", Reason.FILE_CONFLICT, "in use"),
    _Meaning("Resource busy", Reason.FILE_CONFLICT, "in use"),
    _Meaning("File name too long", Reason.INVALID_ARGUMENT, "a name is too long"),
    _Meaning("Filename too long", Reason.INVALID_ARGUMENT, "a name is too long"),
)
_BY_PRINTED: Final = {meaning.printed.lower(): meaning for meaning in _MEANINGS}
# The shell, coreutils and busybox all say what failed, a colon and the kernel's words.
_PRINTED: Final = re.compile(
    rf"(?:^|: )({'|'.join(re.escape(meaning.printed) for meaning in _MEANINGS)})$",
    re.MULTILINE | re.IGNORECASE,
)

# How GNU tar tells of a full disk.
_WROTE_A_PART: Final = re.compile(r": Wrote only \d+ of \d+ bytes$", re.MULTILINE)
_NOTHING_NEW: Final = "tar: Exiting with failure status"


def script(text: str, *arguments: str) -> Program:
    """Return the program that runs one of the scripts."""
    # Messages are understood in the words of the C locale; any other directory may have been removed.
    return Program(("/bin/sh", "-c", text, "sh", *arguments), env=("LC_ALL=C",), cwd="/")


def failure(path: str, end: Ended, stderr: bytes) -> SandboxError:
    """Return the error that a failed command stands for.

    Args:
        path: What it was about.
        end: How it ended.
        stderr: What it said, which need not be true: its sandbox may have put its own programs in place.
    """
    said = _WROTE_A_PART.sub(": No space left on device", stderr.decode("utf-8", "replace").strip())
    if end.exit_code in _STATUSES:
        return error_for(Reason.FILE_CONFLICT, f"{path}: {_STATUSES[end.exit_code]}")
    if end.exit_code in (_NOT_FOUND, _NOT_RUNNABLE):
        return UnsupportedError(f"files need /bin/sh and the usual small programs in the sandbox: {said}")
    found = _PRINTED.search(said)
    if found is not None:
        meaning = _BY_PRINTED[found[1].lower()]
        return error_for(meaning.reason, f"{path}: {meaning.told}")
    if end.signal:
        return error_for(Reason.FILE_CONFLICT, f"{path}: the command was ended by signal {end.signal}")
    lines = [line for line in said.splitlines() if not line.startswith(_NOTHING_NEW)]
    why = lines[-1] if lines else f"the command ended with status {end.exit_code}"
    return error_for(Reason.FILE_CONFLICT, f"{path}: {why}")


def only_vanished(done: Ended, stderr: bytes) -> bool:
    """Tell whether a list lacks nothing but what was removed meanwhile."""
    return done.exit_code == 0 or (done.exit_code == 1 and _each_ends(stderr, b"No such file or directory"))


def only_changed(done: Ended, stderr: bytes) -> bool:
    """Tell whether an archive is whole, though a file may have been written to meanwhile."""
    return done.exit_code == 0 or (done.exit_code == 1 and _each_ends(stderr, b"file changed as we read it"))


def _each_ends(text: bytes, suffix: bytes) -> bool:
    lines = text.splitlines()
    return bool(lines) and all(line.endswith(suffix) for line in lines)
