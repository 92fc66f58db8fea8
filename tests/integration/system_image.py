"""Root file systems made on the spot of this host's own files, as tar files."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path

import docker_engine

from flash_sandbox.orchestrator.images.host_image import make_host_image

# What no program that is installed needs of the standard library.
_LEFT_OUT = re.compile(
    r"/(site-packages|dist-packages|test|tests|unittest|idlelib|tkinter|_tkinter\.[^/]*|turtledemo|lib2to3"
    r"|ensurepip|distutils|pydoc_data|config-[^/]*|__pycache__)$"
)

# What wheels may ask of any system (PEP 600).
_OF_ANY_SYSTEM = ("libdl.so.2", "libgcc_s.so.1", "libpthread.so.0", "librt.so.1", "libstdc++.so.6")


def like_host(directory: Path) -> bytes:
    """Return image ``host`` but for /usr, which is to be a volume.

    Args:
        directory: Where it is put together.
    """
    make_host_image(directory / "root")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(directory / "root", ".")
    return buffer.getvalue()


def with_python() -> bytes:
    """Return a root file system with a Python of this version as ``python3``, and pip, as a tar file."""
    interpreter = _interpreter()
    library, packages = _directories(interpreter)
    buffer = io.BytesIO(docker_engine.busybox_root())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        extensions = [path for path in library.glob("lib-dynload/*.so") if "tkinter" not in path.name]
        for path in (interpreter, *_shared_libraries([interpreter, *extensions])):
            tar.add(path.resolve(), str(path))
        tar.add(library, str(library), filter=_kept)
        tar.add(Path(sysconfig.get_path("purelib"), "pip"), f"{packages}/pip", filter=_kept)
        # Sandboxes are put together in /mnt, which any system has. The interpreter may be in a home.
        for name in ("mnt", *map(str, reversed(interpreter.parents[:-1]))):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        entry = tarfile.TarInfo("usr/bin/python3")
        entry.type, entry.linkname = tarfile.SYMTYPE, str(interpreter)
        tar.addfile(entry)
    return buffer.getvalue()


def _interpreter() -> Path:
    # The system's is smaller, where it has the version that the wheels are for.
    system = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    return system if system.is_file() else Path(sys.executable).resolve()


def _directories(interpreter: Path) -> tuple[Path, Path]:
    """Return where an interpreter has its standard library and what is installed."""
    program = "import site, sysconfig; print(sysconfig.get_path('stdlib'), site.getsitepackages()[0])"
    command = [interpreter, "-I", "-c", program]
    library, packages = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return Path(library), Path(packages)


def _kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _LEFT_OUT.search(entry.name) else entry


def _shared_libraries(programs: Iterable[Path]) -> list[Path]:
    """Return every shared library that programs load at their start, the dynamic linker included."""
    done = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
    found = {Path(path) for path in re.findall(r"(/\S+) \(0x", done.stdout)}
    (system,) = {path.parent for path in found if path.name == "libc.so.6"}
    return sorted(found | {system / name for name in _OF_ANY_SYSTEM if (system / name).exists()})
