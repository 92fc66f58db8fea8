"""Secrets of a sandbox: its programs have placeholders, and requests to the hosts named get the values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from ...models.rules import Rule
from ...models.secret import parse_secret
from .judge import Target

__all__ = ["Secrets", "placeholder"]

_BASIC: Final = b"basic "


def placeholder(name: str) -> str:
    """Return what programs have in place of a secret's value."""
    return f"flash-sandbox-secret-{name}"


@dataclass(frozen=True, slots=True)
class _Secret:
    name: str
    value: bytes
    hosts: tuple[Rule, ...]

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Read NAME@HOST,HOST=VALUE."""
        name, secret = parse_secret(entry)
        return cls(name, secret.value.encode(), tuple(map(Rule.parse, secret.hosts)))

    def is_for(self, target: Target) -> bool:
        return any(rule.allows(target.host, target.port) for rule in self.hosts)

    def fill(self, data: bytes) -> bytes:
        return data.replace(placeholder(self.name).encode(), self.value)


class Secrets:
    """The secrets of one sandbox.

    Args:
        entries: Each ``NAME@HOST,HOST=VALUE``.

    Attributes:
        environment: How programs find the placeholders.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self._secrets = [_Secret.parse(entry) for entry in entries]
        self.environment = {secret.name: placeholder(secret.name) for secret in self._secrets}

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def are_for(self, target: Target) -> bool:
        """Tell whether requests to a host get the value of any."""
        return any(secret.is_for(target) for secret in self._secrets)

    def filled(self, target: Target, data: bytes) -> bytes:
        """Return the path of a request to a host with values in place of placeholders."""
        for secret in self._secrets:
            if secret.is_for(target):
                data = secret.fill(data)
        return data

    def filled_headers(
        self, target: Target, headers: Iterable[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers of a request to a host with values in place of placeholders."""
        return [(name, self._filled_header(target, value)) for name, value in headers]

    def _filled_header(self, target: Target, value: bytes) -> bytes:
        if value[: len(_BASIC)].lower() == _BASIC:
            # Name and password, in base64 (RFC 7617).
            try:
                pair = base64.b64decode(value[len(_BASIC) :], validate=True)
            except binascii.Error:
                return value
            return value[: len(_BASIC)] + base64.b64encode(self.filled(target, pair))
        return self.filled(target, value)
