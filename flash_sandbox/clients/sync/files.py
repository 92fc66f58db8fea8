# Derived from flash_sandbox/clients/aio/files.py by `python -m codegen`; do not edit.
"""The files of a sandbox, as an object."""

from __future__ import annotations

from ..delegation import Delegate, of_sandbox
from .api import SandboxAPI

__all__ = ["Files"]


class Files(Delegate):
    """The files of one sandbox: `Sandbox.files`."""

    read = of_sandbox(SandboxAPI.read_file)
    write = of_sandbox(SandboxAPI.write_file)
    stat = of_sandbox(SandboxAPI.stat)
    list = of_sandbox(SandboxAPI.list_dir)
    make_dir = of_sandbox(SandboxAPI.make_dir)
    remove = of_sandbox(SandboxAPI.remove)
    move = of_sandbox(SandboxAPI.move)
    upload = of_sandbox(SandboxAPI.upload)
    download = of_sandbox(SandboxAPI.download)
    upload_archive = of_sandbox(SandboxAPI.upload_archive)
    download_archive = of_sandbox(SandboxAPI.download_archive)
