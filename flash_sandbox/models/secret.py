"""Secrets that a sandbox's programs use and never have.

On the wire each is a text, ``NAME@HOST,HOST=VALUE``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..errors import InvalidArgumentError

__all__ = ["Secret", "parse_secret", "secret_entries"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
# What a header may have (RFC 9110, 5.5).
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", re.ASCII)
_MOST_SECRETS: Final = 64
_MOST_CHARACTERS: Final = 8192


@dataclass(frozen=True, slots=True)
class Secret:
    """A value for requests to some hosts: the sandbox's programs have a placeholder of it.

    Attributes:
        value: The value, of printable ASCII characters.
        hosts: The hosts that get it, each named as in `Network.allow`; ``*`` alone is none.

    Raises:
        InvalidArgumentError: One of them is malformed; the value is not repeated.
    """

    value: str = field(repr=False)
    hosts: Sequence[str]

    def __post_init__(self) -> None:
        if not isinstance(self.value, str) or not _VALUE.fullmatch(self.value[: _MOST_CHARACTERS + 1]):
            raise InvalidArgumentError("the value of a secret must be a str of printable ASCII characters")
        if len(self.value) > _MOST_CHARACTERS:
            raise InvalidArgumentError(f"the value of a secret has more than {_MOST_CHARACTERS} characters")
        if isinstance(self.hosts, str) or not self.hosts:
            raise InvalidArgumentError("hosts must be a sequence of at least one host")
        for host in self.hosts:
            _require_host(host)
        object.__setattr__(self, "hosts", tuple(self.hosts))


def secret_entries(secrets: Mapping[str, Secret] | Sequence[str], name: str = "secrets") -> tuple[str, ...]:
    """Check secrets, a mapping or texts ``NAME@HOST,HOST=VALUE``, and make them such texts.

    Raises:
        InvalidArgumentError: One is malformed, or two have the same name; no value is repeated.
    """
    if isinstance(secrets, Mapping):
        pairs = list(secrets.items())
    elif isinstance(secrets, str | bytes) or not isinstance(secrets, Sequence):
        raise InvalidArgumentError(
            f"{name} must be a mapping or a sequence of str, not {type(secrets).__name__}"
        )
    else:
        pairs = [parse_secret(entry, f"{name}[{index}]") for index, entry in enumerate(secrets)]
    if len(pairs) > _MOST_SECRETS:
        raise InvalidArgumentError(f"{name} has more than {_MOST_SECRETS} entries")
    if len({key for key, _ in pairs}) < len(pairs):
        raise InvalidArgumentError(f"{name} has a name twice")
    for key, secret in pairs:
        if not isinstance(secret, Secret):
            raise InvalidArgumentError(
                f"{name} must have a Secret for each name, not {type(secret).__name__}"
            )
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            raise InvalidArgumentError(f"{name} has the name {str(key)[:100]!r}, which no variable has")
    return tuple(f"{key}@{','.join(secret.hosts)}={secret.value}" for key, secret in pairs)


def parse_secret(entry: object, where: str = "a secret") -> tuple[str, Secret]:
    """Read the name and the secret of a text ``NAME@HOST,HOST=VALUE``.

    Args:
        entry: The text.
        where: What the error calls it.

    Raises:
        InvalidArgumentError: It is malformed; the value is not repeated.
    """
    head, equals, value = entry.partition("=") if isinstance(entry, str) else ("", "", "")
    key, at, hosts = head.partition("@")
    if not equals or not at:
        raise InvalidArgumentError(f"{where} is not NAME@HOST,HOST=VALUE")
    return key, Secret(value, hosts.split(","))


def _require_host(host: object) -> None:
    if not isinstance(host, str):
        raise InvalidArgumentError(f"hosts must be a sequence of str, and has {type(host).__name__}")
    # Only now, like the rules of policies.
    from .rules import Rule

    try:
        rule = Rule.parse(host)
    except ValueError as error:
        raise InvalidArgumentError(f"hosts: {error}") from None
    if rule.host == "*":
        raise InvalidArgumentError("hosts: every host would get the secret")
