"""A client library for accessing Flash Sandbox HTTP"""

from .client import AuthenticatedClient, Client

__all__ = (
    "AuthenticatedClient",
    "Client",
)
