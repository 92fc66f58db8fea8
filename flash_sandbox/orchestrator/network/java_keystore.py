"""A list of trusted authorities that every Java reads: JKS, as sun.security.provider.JavaKeyStore has it."""

from __future__ import annotations

import hashlib
import re
import ssl
from typing import Final

__all__ = ["keystore"]

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_MAGIC, _VERSION, _TRUSTED = 0xFEEDFEED, 2, 2
# Java reads its own list without a password; tools expect this one, which keeps nothing secret.
_KEY: Final = "changeit".encode("utf-16-be") + b"Mighty Aphrodite"


def keystore(trusted: bytes) -> bytes:
    """Return a keystore with these authorities.

    Args:
        trusted: Their certificates, in PEM.
    """
    found = [ssl.PEM_cert_to_DER_cert(text) for text in _PEM.findall(trusted.decode("latin-1"))]
    head = b"".join(number.to_bytes(4, "big") for number in (_MAGIC, _VERSION, len(found)))
    content = head + b"".join(
        _entry(f"authority-{number}", certificate) for number, certificate in enumerate(found)
    )
    return content + hashlib.sha1(_KEY + content).digest()


def _entry(alias: str, certificate: bytes) -> bytes:
    # The time of its making is for people.
    head = _TRUSTED.to_bytes(4, "big") + _text(alias) + bytes(8) + _text("X.509")
    return head + len(certificate).to_bytes(4, "big") + certificate


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()
