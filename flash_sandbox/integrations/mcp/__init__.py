"""Sandboxes as the tools of a server of the Model Context Protocol, on its official SDK (the extra ``mcp``).

`serve_stdio` serves one client by standard input and output, `StreamableHTTP` any number of them over HTTP.
"""

from __future__ import annotations

from .http import StreamableHTTP
from .server import new_server, serve_stdio

__all__ = ["StreamableHTTP", "new_server", "serve_stdio"]
