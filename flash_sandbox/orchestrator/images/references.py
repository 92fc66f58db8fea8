"""What the name of an image means.

==========================  ==========================================================================
``host``, or empty          the host's own /usr
``/PATH``                   a directory or a tar file on the orchestrator's host: a root file system, an
                            OCI layout or what ``docker save`` wrote, told apart by their content
``oci:/PATH[:TAG]``         an OCI image layout
``docker-archive:/PATH[:REF]``  what ``docker save`` wrote
``docker-daemon:NAME``      an image of the local Docker Engine
anything else               a registry's, as Docker reads it; ``docker://`` may stand before it
==========================  ==========================================================================
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self, TypeGuard

from ...errors import InvalidArgumentError, Reason

__all__ = [
    "HOST",
    "Kind",
    "Reference",
    "Source",
    "is_digest",
    "is_same_image",
    "not_usable",
    "parse_source",
]

HOST: Final = "host"
"""Name of the image that is the host's own /usr, read-only, with an /etc of its own."""

_DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_ENDPOINT: Final = "registry-1.docker.io"
_MAX_NAME: Final = 255
# The grammar of github.com/distribution/reference.
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_IDENTIFIER: Final = re.compile(r"[0-9a-f]{64}")


class Kind(StrEnum):
    """Where an image comes from."""

    HOST = "host"
    PATH = "path"
    OCI = "oci"
    DOCKER_ARCHIVE = "docker-archive"
    DOCKER_DAEMON = "docker-daemon"
    REGISTRY = "docker"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image of a registry.

    Attributes:
        registry: Host and, where one was given, port: ``docker.io``, ``localhost:5000``.
        repository: Name there, such as ``library/alpine``.
        tag: Tag; empty where only a digest was given.
        digest: ``sha256:...`` of the manifest that it must be; empty where none was given.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference as Docker does: ``alpine`` is ``docker.io/library/alpine:latest``.

        Raises:
            InvalidArgumentError: If it is none.
        """
        rest, at, digest = text.partition("@")
        if at and not is_digest(digest):
            raise _malformed(text, f"{digest!r} is not sha256: and 64 hexadecimal digits")
        name, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:
            name, tag = rest, ""
        elif not _TAG.fullmatch(tag):
            raise _malformed(text, f"{tag!r} is no tag")
        registry, repository = _split(name)
        if not _REGISTRY.fullmatch(registry):
            raise _malformed(text, f"{registry!r} is no registry")
        if not _REPOSITORY.fullmatch(repository):
            why = "must be in lower case" if _REPOSITORY.fullmatch(repository.lower()) else "is no repository"
            raise _malformed(text, f"{repository!r} {why}")
        if len(name) > _MAX_NAME or _IDENTIFIER.fullmatch(rest):
            raise _malformed(text, "it is too long, or an identifier instead of a name")
        return cls(registry, repository, tag or ("" if digest else "latest"), digest)

    def pinned(self, digest: str) -> Reference:
        """Return the reference to exactly this manifest."""
        return replace(self, digest=digest)

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this host: the only one that may be spoken to in the clear."""
        host = self.registry.rpartition(":")[0] if re.search(r":\d+$", self.registry) else self.registry
        if host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def api(self) -> str:
        """URL below which the registry answers for this repository."""
        host = _DOCKER_HUB_ENDPOINT if self.registry == _DOCKER_HUB else self.registry
        return f"{'http' if self.is_loopback else 'https'}://{host}/v2/{self.repository}"


@dataclass(frozen=True, slots=True)
class Source:
    """What a name says, taken apart.

    Attributes:
        kind: Where the image comes from.
        name: The name with defaults filled in: equal names are the same image.
        path: Absolute path on this host, of `Kind.PATH`, `Kind.OCI` and `Kind.DOCKER_ARCHIVE`.
        selector: Tag or name in a layout or an archive with several; name in Docker Engine.
        reference: The registry's, of `Kind.REGISTRY`.
    """

    kind: Kind
    name: str
    path: str = ""
    selector: str = ""
    reference: Reference | None = None


def parse_source(image: str) -> Source:
    """Take the name of an image apart.

    Raises:
        InvalidArgumentError: If it is malformed.
    """
    if image in ("", HOST):
        return Source(Kind.HOST, HOST)
    if image.startswith("/"):
        return Source(Kind.PATH, image, path=image)
    scheme, colon, rest = image.partition(":")
    if colon and scheme in (Kind.OCI, Kind.DOCKER_ARCHIVE):
        path, _, selector = rest.partition(":")
        if not path.startswith("/"):
            raise _malformed(image, f"{path!r} is not an absolute path")
        return Source(Kind(scheme), image, path=path, selector=selector)
    if colon and scheme == Kind.DOCKER_DAEMON and not rest.isdigit():
        return Source(Kind.DOCKER_DAEMON, image, selector=_engine_name(rest))
    reference = Reference.parse(image.removeprefix("docker://"))
    return Source(Kind.REGISTRY, str(reference), reference=reference)


def is_same_image(image: str, asked: str) -> bool:
    """Tell whether a name that was asked for may mean an image, whose own name may have a digest besides."""
    if image == asked:
        return True
    one, other = parse_source(image), parse_source(asked)
    if one.reference is None or other.reference is None:
        return one.name == other.name
    tag = other.reference.tag or one.reference.tag
    return one.reference == replace(
        other.reference, tag=tag, digest=other.reference.digest or one.reference.digest
    )


def not_usable(image: str, why: str) -> InvalidArgumentError:
    """Return the error for an image that does not exist or may not be used."""
    return InvalidArgumentError(f"image {image[:300]!r}: {why}", reason=Reason.IMAGE_NOT_FOUND)


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    names_registry = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if slash and names_registry:
        registry, repository = first, rest
    else:
        registry, repository = _DOCKER_HUB, name
    if registry in ("index.docker.io", _DOCKER_HUB_ENDPOINT):
        registry = _DOCKER_HUB
    if registry == _DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def is_digest(text: object) -> TypeGuard[str]:
    """Tell whether something is the SHA-256 of a manifest, an image or a layer."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _engine_name(text: str) -> str:
    # An identifier will do there, in full or abbreviated.
    if is_digest(text) or re.fullmatch(r"[0-9a-f]{12,64}", text):
        return text
    Reference.parse(text)
    return text


def _malformed(image: str, why: str) -> InvalidArgumentError:
    return not_usable(
        image,
        f"{why}; an image is 'host', an absolute path, a registry's such as 'alpine:latest', or one of "
        "oci:PATH, docker-archive:PATH and docker-daemon:NAME",
    )
