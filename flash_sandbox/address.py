"""Where an orchestrator listens: one set of rules for all clients. Pure, no I/O."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final

from .errors import InvalidArgumentError

__all__ = ["Address", "is_grpc_only", "parse_address"]

_PARTS: Final = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)",
    re.DOTALL,
)
# What RFC 3986 allows in a path segment.
_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_TLS_OF_SCHEME: Final = {"http": False, "https": True, "grpc": False, "grpcs": True}
_UNIX: Final = ("unix", "grpc+unix")
_ONLY_GRPC: Final = ("grpc", "grpcs", "grpc+unix")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an orchestrator listens.

    Attributes:
        host: Host name or IP address, without brackets.
        port: TCP port.
        tls: Whether the connection is encrypted.
        prefix: What stands before every path, such as ``/v1/service/sandbox``; empty for nothing.
        unix_path: Path of a Unix socket, used in place of host and port; None for TCP.
    """

    host: str
    port: int
    tls: bool = False
    prefix: str = ""
    unix_path: str | None = None

    @property
    def authority(self) -> str:
        """Return host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Tell whether it is on this machine, where no proxy can reach it. No name is resolved."""
        if self.unix_path is not None:
            return True
        name = self.host.lower().removesuffix(".")
        if name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            # As getaddrinfo has them: 127.1 is an address, too.
            ip = ipaddress.ip_address(self.host if ":" in self.host else socket.inet_aton(self.host))
        except (ValueError, OSError):
            return False
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        # Connecting to "any" address connects to this machine.
        return any(each.is_loopback or each.is_unspecified for each in (ip, mapped) if each is not None)

    @property
    def base_url(self) -> str:
        """Return the URL that every HTTP path is appended to, with a slash at its end."""
        if self.unix_path is not None:
            return "http://localhost/"
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}/"

    @property
    def url(self) -> str:
        """Return it as the clients of either transport take it."""
        return self.base_url if self.unix_path is None else str(self)

    def __str__(self) -> str:
        return self.authority + self.prefix if self.unix_path is None else f"unix://{self.unix_path}"


def is_grpc_only(address: str) -> bool:
    """Tell whether an address has a scheme of gRPC: ``grpc://``, ``grpcs://`` with TLS or ``grpc+unix://``."""
    scheme, separator, _ = address.partition("://")
    return bool(separator) and scheme.lower() in _ONLY_GRPC


def parse_address(
    address: str | None, host: str, port: int, *, tls: bool | None = None, grpc: bool = False
) -> Address:
    """Return the address in a client's arguments.

    Args:
        address: ``host:port``, with or without ``http://`` or ``https://`` before it (for gRPC also
            ``grpc://`` or ``grpcs://``) and a path prefix after it, an IPv6 address in brackets; or
            ``unix:///path`` (for gRPC also ``grpc+unix:///path``). Without a port it is 80, or 443 with TLS.
            None to use `host` and `port`.
        host: Host name or IP address.
        port: TCP port, 1 to 65535.
        tls: Whether TLS was asked for beside the address; None leaves it to the scheme.
        grpc: Whether the client speaks gRPC.

    Raises:
        InvalidArgumentError: Something is malformed; the message says what.
    """
    if address is None:
        return Address(_host(host, "host"), _port(port), tls=bool(tls))
    if not isinstance(address, str):
        raise InvalidArgumentError(f"address must be a str, not {type(address).__name__}")
    if not address or any(not char.isprintable() or char.isspace() for char in address):
        raise InvalidArgumentError(f"address {address!r} is empty, or holds a space or a control character")
    parts = _PARTS.fullmatch(address)
    assert parts is not None
    scheme = (parts["scheme"] or "").lower()
    if parts["rest"]:
        raise InvalidArgumentError(f"address {address!r} has a query or a fragment")
    if scheme and scheme not in (*_TLS_OF_SCHEME, *_UNIX):
        known = ", ".join((*_TLS_OF_SCHEME, *_UNIX))
        raise InvalidArgumentError(f"address {address!r} has the scheme {scheme!r}; known: {known}")
    if scheme in _ONLY_GRPC and not grpc:
        raise InvalidArgumentError(
            f"address {address!r} is for gRPC and this client speaks HTTP: use SandboxClient, "
            "AsyncSandboxClient, or flash_sandbox.connect, which goes by the address"
        )
    if scheme in _UNIX:
        return _unix(address, parts["authority"], parts["path"], tls)
    secure = _TLS_OF_SCHEME.get(scheme, bool(tls))
    if tls is not None and tls is not secure:
        raise InvalidArgumentError(f"address {address!r} and ssl= contradict each other")
    name, number = _authority(address, parts["authority"])
    default_port = 443 if secure else 80
    return Address(name, number or default_port, tls=secure, prefix=_prefix(address, parts["path"]))


def _unix(address: str, authority: str, path: str, tls: bool | None) -> Address:
    if authority or len(path) < 2:
        raise InvalidArgumentError(f"address {address!r} must be unix:// and an absolute path: unix:///path")
    if tls:
        raise InvalidArgumentError(f"address {address!r} is a Unix socket, which has no TLS")
    if not hasattr(socket, "AF_UNIX"):
        raise InvalidArgumentError(f"address {address!r} is a Unix socket, which this system does not have")
    return Address("localhost", 80, unix_path=path)


def _authority(address: str, authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise InvalidArgumentError("address holds a user name or password; use api_key= instead")
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidArgumentError(f"address {address!r} has an unmatched bracket")
        if ":" not in host:
            raise InvalidArgumentError(f"address {address!r} has brackets around what is not IPv6")
        return _host(host, "address"), _port_text(address, rest[1:]) if rest else None
    if authority.count(":") > 1:
        raise InvalidArgumentError(f"address {address!r} must have an IPv6 address in brackets")
    host, colon, port = authority.partition(":")
    return _host(host, "address"), _port_text(address, port) if colon else None


def _host(host: object, name: str) -> str:
    if not isinstance(host, str):
        raise InvalidArgumentError(f"{name} must be a str, not {type(host).__name__}")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare:
        try:
            if "%" not in bare:
                return str(ipaddress.IPv6Address(bare))
        except ValueError:
            pass
        raise InvalidArgumentError(f"{name} has {bare!r}, which is no IPv6 address (give a URL as address=)")
    try:
        ascii_name = bare if bare.isascii() else bare.encode("idna").decode("ascii")
    except UnicodeError:
        ascii_name = ""
    labels = ascii_name.removesuffix(".").split(".")
    if len(ascii_name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidArgumentError(f"{name} has {host!r}, which is no host name")
    return ascii_name


def _port(port: object) -> int:
    if isinstance(port, bool) or not isinstance(port, int):
        raise InvalidArgumentError(f"port must be an int, not {type(port).__name__}")
    if not 1 <= port <= 65535:
        raise InvalidArgumentError(f"port must be 1 to 65535, not {port}")
    return port


def _port_text(address: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5:
        raise InvalidArgumentError(f"address {address!r} has the port {text!r}, not 1 to 65535")
    return _port(int(text))


def _prefix(address: str, path: str) -> str:
    prefix = path.rstrip("/")
    for segment in prefix.split("/")[1:]:
        if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise InvalidArgumentError(f"address {address!r} has the malformed path segment {segment!r}")
    return prefix
