"""A certificate authority of one sandbox, which signs for the hosts that its secrets are for."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import ssl
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ...models.rules import IPAddress

__all__ = ["Authority"]

_CURVE: Final = ec.SECP256R1()
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# Of what an authority signs, browsers and others accept no more than 398 days.
_LEAF_DAYS: Final = 397
_OWN_DAYS: Final = 3650
_MOST_HOSTS: Final = 64


class Authority:
    """Signs certificates. The next orchestrator makes the same one, whose key nobody writes down.

    Args:
        master: A secret of the orchestrator.
        sandbox_id: The sandbox.
    """

    def __init__(self, master: bytes, sandbox_id: str) -> None:
        seed = hmac.new(master, sandbox_id.encode(), hashlib.sha512).digest()
        self._key = ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER - 1) + 1, _CURVE)
        self._name = _name(f"flash-sandbox {sandbox_id}")
        own = _signed_by(self._name, self._name, self._key.public_key(), self._key, _OWN_DAYS)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = own.add_extension(_usage(ca=True), critical=True).sign(self._key, hashes.SHA256())
        self.context_for = lru_cache(_MOST_HOSTS)(self._context_for)

    @property
    def certificate(self) -> bytes:
        """Its certificate, in PEM."""
        return self._certificate.public_bytes(Encoding.PEM)

    def _context_for(self, host: str | IPAddress) -> ssl.SSLContext:
        """Return what a server that passes for a host presents."""
        key = ec.generate_private_key(_CURVE)
        named = x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host)
        leaf = _signed_by(_name("flash-sandbox"), self._name, key.public_key(), self._key, _LEAF_DAYS)
        leaf = leaf.add_extension(x509.SubjectAlternativeName([named]), critical=False)
        leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        leaf = leaf.add_extension(_usage(ca=False), critical=True)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = leaf.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        # From a file alone, which nobody else can read.
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "chain.pem")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secret + signed.public_bytes(Encoding.PEM) + self.certificate)
            context.load_cert_chain(path)
        return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _signed_by(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    days: int,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
