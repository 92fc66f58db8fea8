"""Secrets of a sandbox: what its programs find of them, and whom they trust for that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import certifi

from ...errors import SandboxFileNotFoundError
from ..guest import files
from ..guest.channel import Channel
from ..network.gate import Gate
from ..network.java_keystore import keystore
from ..network.secrets import Secrets

__all__ = ["keep_secrets"]

# Where images have the authorities that they trust; the first that is there.
_STORES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# Where a Java of an image has its own: Debian's and Alpine's, Fedora's, Eclipse Temurin's.
_JAVA_STORES: Final = (
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
    "/opt/java/openjdk/lib/security/cacerts",
)
_MARK: Final = b"\n# The sandbox's own authority, which flash-sandbox signs with for the hosts of secrets.\n"
# Of programs that bring a list of their own.
_VARIABLES: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
)


async def keep_secrets(
    entries: Sequence[str], sandbox_id: str, channel: Channel, gate: Gate
) -> Mapping[str, str]:
    """Give the hosts of a sandbox's secrets their values, and have its programs trust the gate.

    Args:
        entries: The secrets, each ``NAME@HOST,HOST=VALUE``.
        sandbox_id: The sandbox.
        channel: To its agent.
        gate: Its gate, which is open.

    Returns:
        Variables that its programs have to have.

    Raises:
        SandboxError: The list of trusted authorities cannot be written.
    """
    if not entries:
        return {}
    # Only now: most sandboxes have no secrets, and it takes a moment.
    from ..network.authority import Authority

    authority = await asyncio.to_thread(Authority, gate.operator.authority_key, sandbox_id)
    store = await _trust(channel, authority.certificate)
    secrets = Secrets(entries)
    gate.keep_secrets(secrets, authority)
    return {**secrets.environment, **dict.fromkeys(_VARIABLES, store)}


async def _trust(channel: Channel, certificate: bytes) -> str:
    """Add a certificate to those that the image trusts, and return the path of the list."""
    for store in _STORES:
        try:
            trusted = await files.read_file(channel, store)
            break
        except SandboxFileNotFoundError:
            continue
    else:
        store, trusted = _STORES[0], certifi.contents().encode()
    # Once, also where another orchestrator has done so before.
    content = trusted.partition(_MARK)[0] + _MARK + certificate
    await files.write_file(channel, store, content, parents=True)
    for java_store in _JAVA_STORES:
        with suppress(SandboxFileNotFoundError):
            await files.stat(channel, java_store)
            await files.write_file(channel, java_store, keystore(content))
    return store
