"""What a registry or a layout says of an image: indexes, manifests, configurations (OCI image specification).

Everything here was written by whoever made the image: it is checked before anything is done with it.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from ..archives.bounded_tar import refused
from .references import is_digest

__all__ = [
    "ACCEPT",
    "DEFAULT_PATH",
    "MAX_DOCUMENT_BYTES",
    "Descriptor",
    "ImageConfig",
    "Manifest",
    "chain_id",
    "host_platform",
    "load_document",
    "parse_configuration",
    "parse_manifest",
]

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for if an image does not say where, as Docker has it."""

_OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"

ACCEPT: Final = ", ".join((_OCI_INDEX, _OCI_MANIFEST, _DOCKER_INDEX, _DOCKER_MANIFEST))
"""What a registry is asked for."""

MAX_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
"""The size that registries bound manifests to (OCI distribution specification)."""

_MAX_LAYERS: Final = 1024
_MAX_WORDS: Final = 4096
_MACHINES: Final = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob that a document points to, with what it must prove to be.

    Attributes:
        digest: ``sha256:`` and 64 hexadecimal digits.
        size: Bytes.
        media_type: What it is; empty where that was not said.
    """

    digest: str
    size: int
    media_type: str = ""

    @property
    def hex(self) -> str:
        """The digits of the digest."""
        return self.digest.removeprefix("sha256:")

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a descriptor.

        Raises:
            InvalidArgumentError: If it is none, or if it has no SHA-256 digest.
        """
        fields = _mapping(value)
        digest, size = fields.get("digest"), fields.get("size")
        if not is_digest(digest):
            raise refused(f"{str(digest)[:100]!r} is no SHA-256 digest")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise refused(f"{str(size)[:100]!r} is no size")
        return cls(digest, size, str(fields.get("mediaType") or ""))

    @classmethod
    def of(cls, document: bytes) -> Self:
        """Return the descriptor of a document that is at hand."""
        return cls(f"sha256:{hashlib.sha256(document).hexdigest()}", len(document))

    def check(self, document: bytes) -> bytes:
        """Return a document, after proof that it is the one that is meant.

        Raises:
            InvalidArgumentError: If it is another.
        """
        found = Descriptor.of(document)
        if (found.digest, found.size) != (self.digest, self.size):
            raise refused(f"a document has the digest {found.digest}, not {self.digest}")
        return document


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image for one platform.

    Attributes:
        config: Its configuration.
        layers: Its layers, the lowest first.
    """

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How an image wants to be run.

    Attributes:
        env: Environment, ``NAME=VALUE`` each.
        entrypoint: Program and first arguments.
        cmd: Further arguments, or the program where there is no entry point.
        working_dir: Absolute path; empty where it names none.
        user: User; empty where it names none. Only docker runs programs as that user.
    """

    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""

    @property
    def command(self) -> tuple[str, ...]:
        """The image's own command; empty where it names none."""
        return (*self.entrypoint, *self.cmd)

    @property
    def environment(self) -> dict[str, str]:
        """The environment by name."""
        return dict(entry.split("=", 1) for entry in self.env)

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read what `as_json` returned."""
        fields = _mapping(value)
        return cls(
            _words(fields.get("env")),
            _words(fields.get("entrypoint")),
            _words(fields.get("cmd")),
            _text(fields.get("working_dir")),
            _text(fields.get("user")),
        )


def parse_manifest(document: bytes) -> Manifest | Descriptor:
    """Read a manifest; of an index return the descriptor of this host's manifest instead.

    Raises:
        InvalidArgumentError: If it is neither, or has nothing for this host.
    """
    fields = load_document(document)
    if "manifests" in fields:
        return _for_this_host(fields["manifests"])
    if "config" not in fields or "layers" not in fields:
        kind = fields.get("mediaType") or f"schema version {fields.get('schemaVersion')}"
        raise refused(f"a manifest of kind {str(kind)[:100]!r} is not one of an image")
    layers = tuple(Descriptor.parse(layer) for layer in _list(fields["layers"], _MAX_LAYERS))
    return Manifest(Descriptor.parse(fields["config"]), layers)


def parse_configuration(document: bytes) -> tuple[ImageConfig, tuple[str, ...]]:
    """Read an image's configuration; return it and the digests of the uncompressed layers, lowest first.

    Raises:
        InvalidArgumentError: If it is none, or of an image for another system.
    """
    fields = load_document(document)
    system, architecture = fields.get("os") or "linux", fields.get("architecture") or host_platform()[1]
    if (system, architecture) != host_platform()[:2]:
        raise refused(
            f"it is for {str(system)[:50]}/{str(architecture)[:50]}, this host is {_platform_name()}"
        )
    diff_ids = _list(_mapping(fields.get("rootfs") or {}).get("diff_ids") or [], _MAX_LAYERS)
    for diff_id in diff_ids:
        if not is_digest(diff_id):
            raise refused(f"{str(diff_id)[:100]!r} is no SHA-256 digest")
    inner = _mapping(fields.get("config") or {})
    env = tuple(entry for entry in _words(inner.get("Env")) if not entry.startswith("=") and "=" in entry)
    config = ImageConfig(
        env,
        _words(inner.get("Entrypoint")),
        _words(inner.get("Cmd")),
        _text(inner.get("WorkingDir")),
        _text(inner.get("User")),
    )
    return config, tuple(diff_ids)


def chain_id(diff_ids: tuple[str, ...]) -> str:
    """Return the name of what layers make when they lie over one another (config.md, "Layer ChainID")."""
    if not diff_ids:
        return f"sha256:{hashlib.sha256().hexdigest()}"
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"
    return chain


def host_platform() -> tuple[str, str, str]:
    """Return operating system, architecture and variant of this host, as images name them."""
    machine = platform.machine()
    return ("linux", *_MACHINES.get(machine, (machine, "")))


def load_document(document: bytes) -> Mapping[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidArgumentError: If it is none.
    """
    try:
        return _mapping(json.loads(document))
    except (ValueError, RecursionError) as error:
        raise refused(f"not a JSON document: {error}") from error


def _for_this_host(entries: object) -> Descriptor:
    system, architecture, variant = host_platform()
    fits: list[tuple[bool, Descriptor]] = []
    offered: set[str] = set()
    for entry in _list(entries, _MAX_WORDS):
        described = _mapping(_mapping(entry).get("platform") or {})
        theirs = (described.get("os"), described.get("architecture"))
        if theirs == ("unknown", "unknown"):
            # Not an image: what is attested of one.
            continue
        offered.add("/".join(str(part)[:50] for part in (*theirs, described.get("variant")) if part))
        if theirs in ((system, architecture), (None, None)):
            is_exact = (described.get("variant") or variant) == variant
            fits.append((is_exact, Descriptor.parse(entry)))
    for exact in (True, False):
        for is_exact, descriptor in fits:
            if is_exact is exact:
                return descriptor
    raise refused(f"it is for {', '.join(sorted(offered)) or 'nothing'}, this host is {_platform_name()}")


def _platform_name() -> str:
    return "/".join(part for part in host_platform() if part)


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise refused("a part of its description is not a JSON object")
    return value


def _list(value: object, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise refused(f"a part of its description is not a list of up to {most}")
    return value


def _words(value: object) -> tuple[str, ...]:
    return tuple(
        _text(word) for word in _list(list(value) if isinstance(value, tuple) else value or [], _MAX_WORDS)
    )


def _text(value: object) -> str:
    text = value or ""
    # A NUL would end the word early in whatever the kernel is given.
    if not isinstance(text, str) or "\0" in text:
        raise refused("a part of its configuration is not text")
    return text
