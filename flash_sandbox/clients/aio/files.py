"""The files of a sandbox, as an object."""

from __future__ import annotations

from ..delegation import Delegate, of_sandbox
from .api import AsyncSandboxAPI

__all__ = ["AsyncFiles"]


class AsyncFiles(Delegate):
    """The files of one sandbox: `AsyncSandbox.files`."""

    read = of_sandbox(AsyncSandboxAPI.read_file)
    write = of_sandbox(AsyncSandboxAPI.write_file)
    stat = of_sandbox(AsyncSandboxAPI.stat)
    list = of_sandbox(AsyncSandboxAPI.list_dir)
    make_dir = of_sandbox(AsyncSandboxAPI.make_dir)
    remove = of_sandbox(AsyncSandboxAPI.remove)
    move = of_sandbox(AsyncSandboxAPI.move)
    upload = of_sandbox(AsyncSandboxAPI.upload)
    download = of_sandbox(AsyncSandboxAPI.download)
    upload_archive = of_sandbox(AsyncSandboxAPI.upload_archive)
    download_archive = of_sandbox(AsyncSandboxAPI.download_archive)
