"""The generated layers: what the generators make of the specs, as files in memory."""

from __future__ import annotations

import ast
import json
import sys
import tempfile
from pathlib import Path
from typing import Final

from . import derive_stub, openapi, tools

__all__ = ["GRPC", "GUEST", "HTTP", "descriptor_set", "grpc_layer", "guest_layer", "http_layer"]

HTTP: Final = Path("generated/flash_sandbox_http")
GRPC: Final = Path("generated/flash_sandbox_grpc")
GUEST: Final = Path("generated/flash_sandbox_guest")

_SERVICE: Final = "sandbox.proto"
_AGENT: Final = "guest.proto"

# Of a stream the generated client makes a file, of whatever it holds; who wants its lines as they come, reads
# them by the client's own httpx client.
_HTTP_CONFIG: Final = f"""\
content_type_overrides:
  application/x-ndjson: application/octet-stream
post_hooks:
  - ruff check . --isolated --no-cache --fix-only --select F401,I
  - ruff format . --isolated --no-cache --line-length {tools.LINE_LENGTH}
"""
# The compiler of betterproto2 runs `ruff` with the settings it finds in the working directory.
_RUFF_CONFIG: Final = f"""\
line-length = {tools.LINE_LENGTH}
target-version = "py311"
"""
# The names of the functions are the generator's; this module alone knows them.
_ENDPOINTS: Final = '''\
"""The functions that call each operation of the OpenAPI document. Generated; do not edit."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

from .types import Response

__all__ = ["Endpoint", "endpoint"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The generated functions of one operation; all take its parameters and its body by keyword.

    Attributes:
        build: Returns the keyword arguments of ``httpx.Client.request``.
        call: Calls the operation through ``client.get_httpx_client()``.
        call_async: Calls the operation through ``client.get_async_httpx_client()``.
    """

    build: Callable[..., dict[str, Any]]
    call: Callable[..., Response[Any]]
    call_async: Callable[..., Awaitable[Response[Any]]]


@cache
def endpoint(operation: str) -> Endpoint:
    """Return the functions of an operation, imported when it is called first.

    Raises:
        KeyError: There is no such operation.
    """
    module = import_module(_MODULES[operation], __package__)
    return Endpoint(module._get_kwargs, module.sync_detailed, module.asyncio_detailed)


_MODULES: Final[dict[str, str]] = {
ROWS}
'''
_MESSAGE_POOL: Final = """\
import betterproto2

# The constructor has no annotations in betterproto2 0.10, which a strict type checker refuses.
default_message_pool = betterproto2.MessagePool()  # type: ignore[no-untyped-call, unused-ignore]
"""


def http_layer(root: Path) -> dict[Path, bytes]:
    """Generate the HTTP layer from specs/openapi.yaml under `root`.

    Raises:
        tools.ToolError: The generator failed, or warned that it left something out.
    """
    with tempfile.TemporaryDirectory(prefix="codegen-") as name:
        work = Path(name)
        (work / "config.yaml").write_text(_HTTP_CONFIG, encoding="utf-8")
        output = work / HTTP.name
        tools.run(
            [
                *(sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning"),
                *("--path", root / openapi.PATH, "--config", work / "config.yaml"),
                *("--meta", "none", "--output-path", output),
            ],
            cwd=work,
        )
        files = _read(output, HTTP)
    routes = openapi.routes_module(openapi.load(root))
    modules = sorted(path for path in files if path.match("api/*/*.py") and path.stem != "__init__")
    rows = "".join(
        f"    {path.stem!r}: {'.'.join(('', *path.parts[-3:-1], path.stem))!r},\n" for path in modules
    )
    # What ships, and is read without a YAML library.
    document = json.dumps(openapi.document_of(root), indent=1, ensure_ascii=False) + "\n"
    return files | {
        HTTP / "py.typed": b"",
        HTTP / "routes.py": tools.format_python(routes).encode(),
        HTTP / "endpoints.py": tools.format_python(_ENDPOINTS.replace("ROWS", rows)).encode(),
        HTTP / "openapi.json": document.encode(),
    }


def grpc_layer(root: Path) -> dict[Path, bytes]:
    """Generate the gRPC layer from specs/sandbox.proto under `root`.

    Raises:
        tools.ToolError: protoc or its plugin failed or warned.
    """
    files = _messages(
        root,
        _SERVICE,
        GRPC,
        "The gRPC layer, generated from specs/sandbox.proto: messages, stub and service base.",
        "client_generation=async",
        "server_generation=async",
    )
    stub = derive_stub.derive(files[GRPC / "sandbox" / "__init__.py"].decode())
    return files | {GRPC / "sync_stub.py": tools.format_python(stub).encode()}


def guest_layer(root: Path) -> dict[Path, bytes]:
    """Generate the messages of the guest agent's protocol from specs/guest.proto under `root`.

    Raises:
        tools.ToolError: protoc or its plugin failed or warned.
    """
    title = "The guest agent's protocol, generated from specs/guest.proto: messages."
    return _messages(root, _AGENT, GUEST, title, "client_generation=none")


def _messages(root: Path, spec: str, place: Path, title: str, *options: str) -> dict[Path, bytes]:
    """Generate a package from a proto file.

    The package's own `__init__` makes its names importable without the name of the proto package.
    """
    with tempfile.TemporaryDirectory(prefix="codegen-") as name:
        work = Path(name)
        (work / "ruff.toml").write_text(_RUFF_CONFIG, encoding="utf-8")
        output = work / place.name
        output.mkdir()
        chosen = (f"--python_betterproto2_opt={option}" for option in options)
        _protoc(root, work, spec, f"--python_betterproto2_out={output}", *chosen)
        files = _read(output, place)
    package = spec.removesuffix(".proto")
    source = files[place / package / "__init__.py"].decode()
    files[place / "message_pool.py"] = _MESSAGE_POOL.encode()
    files[place / "__init__.py"] = tools.format_python(_reexport(source, package, title)).encode()
    return files


def descriptor_set(root: Path, spec: str = _SERVICE) -> bytes:
    """Return what protoc reads in a proto file of specs/ under `root`: a FileDescriptorSet with comments.

    Raises:
        tools.ToolError: protoc failed or warned.
    """
    with tempfile.TemporaryDirectory(prefix="codegen-") as name:
        work = Path(name)
        output = work / "descriptors.bin"
        _protoc(root, work, spec, f"--descriptor_set_out={output}", "--include_source_info")
        return output.read_bytes()


def _protoc(root: Path, work: Path, spec: str, *options: str) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root / 'specs'}", *options, spec]
    done = tools.run(command, cwd=work)
    # The plugin names on stderr what it writes; anything else there is a warning.
    warnings = [line for line in done.stderr.splitlines() if line and not line.startswith("Writing ")]
    if warnings:
        raise tools.ToolError(f"protoc warns about specs/{spec}:\n" + "\n".join(warnings))


def _read(folder: Path, place: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {place / path.relative_to(folder): path.read_bytes() for path in files}


def _reexport(source: str, package: str, title: str) -> str:
    names: tuple[str, ...] = next(
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    listed = "".join(f"    {name!r},\n" for name in names)
    return f'"""{title}"""\n\nfrom .{package} import {", ".join(names)}\n\n__all__ = (\n{listed})\n'
