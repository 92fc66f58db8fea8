"""The process that works on files in a user namespace of its own: see `file_work`, which starts it.

It is run by its path in a bare interpreter, so that it is in the namespace before it has loaded anything. Its
socket is file descriptor 0; when that is closed at the other end, it ends, and what works for it does.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from typing import Final

_CLONE_NEWUSER: Final = 0x10000000


def main() -> None:
    """Enter the namespace that the settings in the first argument name, or a new one; then serve."""
    settings = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    namespace: int = settings["namespace"]
    entered = libc.unshare(_CLONE_NEWUSER) if namespace < 0 else libc.setns(namespace, _CLONE_NEWUSER)
    connection = socket.socket(fileno=os.dup(0))
    connection.send(os.strerror(ctypes.get_errno()).encode() if entered else b"\0")
    # Until the IDs of the namespace are mapped.
    if not connection.recv(1):
        return
    sys.path[:] = settings["path"]
    from flash_sandbox.orchestrator.linux.file_work import serve

    serve(connection, settings["modules"])


if __name__ == "__main__":
    main()
