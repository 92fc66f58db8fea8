"""The interface of the clients, derived from their calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from . import tools

__all__ = ["API", "SOURCE", "derive", "methods"]

SOURCE: Final = Path("flash_sandbox/clients/aio")
API: Final = SOURCE / "api.py"

# In the order of the interface.
_SOURCES: Final = (
    "operation_calls.py",
    "stream_calls.py",
    "sandbox_calls.py",
    "snapshot_calls.py",
    "file_calls.py",
    "port_calls.py",
    "calls.py",
)
_SPECIAL: Final = ("__aenter__", "__aexit__")
_HEAD: Final = '''\
# Derived from the calls of the clients by `python -m codegen`; do not edit.
"""The interface that all asynchronous clients share."""

from __future__ import annotations

from typing import Protocol
{imports}

__all__ = ["AsyncSandboxAPI"]


class AsyncSandboxAPI(Protocol):
    """What every asynchronous client can do, over whichever transport."""

'''


def derive(root: Path, derived: Mapping[Path, str]) -> dict[Path, str]:
    """Return the text of each derived file, by its path below `root`.

    Args:
        root: The root of the repository.
        derived: Sources that are derived themselves, by their path.
    """
    paths = [SOURCE / name for name in _SOURCES]
    texts = [derived[path] if path in derived else (root / path).read_text("utf-8") for path in paths]
    nodes = [node for text in texts for node in ast.parse(text).body]
    imports = "\n".join(ast.unparse(node) for node in nodes if _is_import(node))
    declared = "\n".join(method for text in texts for method in _declared(text))
    return {API: tools.format_python(_HEAD.format(imports=imports) + declared)}


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__")


def methods(text: str) -> Iterator[ast.AsyncFunctionDef | ast.FunctionDef]:
    """Yield each method of the classes in a module."""
    for kind in (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)):
        yield from (node for node in kind.body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef))


def _declared(text: str) -> Iterator[str]:
    """Yield each public method without its body."""
    lines = text.splitlines(keepends=True)
    for node in methods(text):
        if node.name.startswith("_") and node.name not in _SPECIAL:
            continue
        first = node.body[0]
        signature = "".join(lines[node.lineno - 1 : first.lineno - 1])
        if any(isinstance(each, ast.Yield) for each in ast.walk(node)):
            # Without `yield` it would be a coroutine that returns an iterator.
            signature = signature.replace("async def", "def", 1)
        docstring = "".join(lines[first.lineno - 1 : first.end_lineno]) if ast.get_docstring(node) else ""
        yield f"{signature}{docstring}        ...\n"
