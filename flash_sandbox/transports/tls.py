"""The usual TLS settings, the same for both transports."""

from __future__ import annotations

import os
import ssl

import certifi

__all__ = ["default_context"]


def default_context() -> ssl.SSLContext:
    """Return settings that trust certifi's authorities, or those of SSL_CERT_FILE or SSL_CERT_DIR."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    return ssl.create_default_context(cafile=certifi.where())
