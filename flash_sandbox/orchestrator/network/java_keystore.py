"""A list of trusted authorities that every Java reads: JKS, as sun.security.provider.JavaKeyStore has it."""

from __future__ import annotations

import hashlib
import re
import ssl
from typing import Final

__all__ = ["keystore"]

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_MAGIC, _VERSION, _TRUSTED = 0xFEEDFEED, 2, 2
# What each certificate begins with in DER, before two bytes of its length (X.690, 8.1.3.5).
_SEQUENCE: Final = b"\x30\x82"
# Java reads its own list without a password; tools expect this one, which keeps nothing secret.
_KEY: Final = "changeit".encode("utf-16-be") + b"Mighty Aphrodite"


def keystore(trusted: bytes) -> bytes:
    """Return a keystore with these authorities.

    Args:
        trusted: Their certificates, in PEM. What is none is left out: an image may list anything.
    """
    found = [der for text in _PEM.findall(trusted.decode("latin-1")) if (der := _der(text))]
    head = b"".join(number.to_bytes(4, "big") for number in (_MAGIC, _VERSION, len(found)))
    content = head + b"".join(
        _entry(f"authority-{number}", certificate) for number, certificate in enumerate(found)
    )
    return content + hashlib.sha1(_KEY + content).digest()


def _der(text: str) -> bytes:
    """Return a certificate; nothing where a text is none, for which Java would refuse the whole list."""
    try:
        der = ssl.PEM_cert_to_DER_cert(text)
    except ValueError:
        return b""
    return der if der[:4] == _SEQUENCE + (len(der) - 4 & 0xFFFF).to_bytes(2, "big") else b""


def _entry(alias: str, certificate: bytes) -> bytes:
    # The time of its making is for people.
    head = _TRUSTED.to_bytes(4, "big") + _text(alias) + bytes(8) + _text("X.509")
    return head + len(certificate).to_bytes(4, "big") + certificate


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()
