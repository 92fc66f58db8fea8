"""The interface of the clients, and a sandbox's own calls, derived from the calls of the clients."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import tools

__all__ = ["API", "OBJECT", "derive"]

SOURCE: Final = Path("flash_sandbox/clients/aio")
API: Final = SOURCE / "api.py"
OBJECT: Final = SOURCE / "object_calls.py"

# In the order of the interface.
_SOURCES: Final = ("sandbox_calls.py", "command_calls.py", "file_calls.py", "calls.py")
_SPECIAL: Final = ("__aenter__", "__aexit__")
# An object form has another name for it, and more to do.
_NOT_OF_AN_OBJECT: Final = frozenset({"start_sandbox"})

_HEADER: Final = "# Derived from the calls of the clients by `python -m codegen`; do not edit.\n"
_API_HEAD: Final = '''\
class AsyncSandboxAPI(Protocol):
    """What every asynchronous client can do, over whichever transport."""
'''
_OBJECT_HEAD: Final = '''\
class AsyncObjectCalls:
    """What a client does with the ID of a sandbox, without the ID."""

    _client: AsyncSandboxAPI
    _id: str
'''
_ID_DOC: Final = re.compile(r"^ +sandbox_id: .*\n", re.MULTILINE)
_ID_PARAMETER: Final = re.compile(r"\bsandbox_id: str,?\s*")
_NO_ARGUMENTS: Final = re.compile(r"^ +Args:\n\s*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Method:
    """One public method: its parts as they stand in the source."""

    node: ast.AsyncFunctionDef | ast.FunctionDef
    signature: str
    docstring: str

    @property
    def of_one_sandbox(self) -> bool:
        parameters = [argument.arg for argument in self.node.args.args[1:2]]
        return parameters == ["sandbox_id"] and self.node.name not in _NOT_OF_AN_OBJECT


def derive(root: Path) -> dict[Path, str]:
    """Return the text of each derived file, by its path below `root`."""
    texts = [(root / SOURCE / name).read_text("utf-8") for name in _SOURCES]
    imports = "".join(f"{line}\n" for text in texts for line in _imports(text))
    methods = [method for text in texts for method in _methods(text)]
    api = "\n".join(_in_interface(method) for method in methods)
    calls = "\n".join(_in_object(method) for method in methods if method.of_one_sandbox)
    return {
        API: _module(
            "The interface that all asynchronous clients share.",
            f"{imports}from typing import Protocol\n",
            f'__all__ = ["AsyncSandboxAPI"]\n\n\n{_API_HEAD}\n{api}',
        ),
        OBJECT: _module(
            "The calls of a sandbox as an object.",
            f"{imports}from .api import AsyncSandboxAPI\n",
            f'__all__ = ["AsyncObjectCalls"]\n\n\n{_OBJECT_HEAD}\n{calls}',
        ),
    }


def _module(doc: str, imports: str, body: str) -> str:
    text = f'{_HEADER}"""{doc}"""\n\nfrom __future__ import annotations\n\n{imports}\n{body}'
    return tools.format_python(text)


def _imports(text: str) -> Iterator[str]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom) and ast.unparse(node) not in _OWN:
            yield ast.unparse(node)


_OWN: Final = ("from .calls import AsyncCalls", "from __future__ import annotations")


def _methods(text: str) -> Iterator[_Method]:
    lines = text.splitlines(keepends=True)
    for kind in (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)):
        for node in kind.body:
            if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
                continue
            if node.name.startswith("_") and node.name not in _SPECIAL:
                continue
            first = node.body[0]
            signature = "".join(lines[node.lineno - 1 : first.lineno - 1])
            docstring = "".join(lines[first.lineno - 1 : first.end_lineno])
            yield _Method(node, signature, docstring if ast.get_docstring(node) else "")


def _in_interface(method: _Method) -> str:
    return f"{method.signature}{method.docstring}        ...\n"


def _in_object(method: _Method) -> str:
    signature = _ID_PARAMETER.sub("", method.signature, count=1)
    docstring = _NO_ARGUMENTS.sub("", _ID_DOC.sub("", method.docstring))
    arguments = ["self._id", *(argument.arg for argument in method.node.args.args[2:])]
    arguments += [f"{argument.arg}={argument.arg}" for argument in method.node.args.kwonlyargs]
    call = f"await self._client.{method.node.name}({', '.join(arguments)})"
    returns_nothing = method.node.returns is not None and ast.unparse(method.node.returns) == "None"
    return f"{signature}{docstring}        {call if returns_nothing else f'return {call}'}\n"
