"""`connect`: one function for every address."""

from __future__ import annotations

from typing import Any

import pytest

import flash_sandbox
from flash_sandbox import AsyncHTTPClient, AsyncSandboxClient, HTTPClient, InvalidArgumentError, SandboxClient

OVER_HTTP = ["localhost:8080", "http://localhost:8080", "HTTPS://example.com/prefix", "unix:///run/x.sock"]
OVER_GRPC = ["grpc://localhost:50051", "GRPCS://example.com/prefix", "grpc+unix:///run/x.sock"]
CLIENTS = [(address, HTTPClient, AsyncHTTPClient) for address in OVER_HTTP] + [
    (address, SandboxClient, AsyncSandboxClient) for address in OVER_GRPC
]


@pytest.mark.parametrize(("address", "kind", "async_kind"), CLIENTS)
async def test_the_scheme_chooses_the_client(address: str, kind: type, async_kind: type) -> None:
    with flash_sandbox.connect(address) as client:
        assert type(client) is kind
    async with await flash_sandbox.connect_async(address) as async_client:
        assert type(async_client) is async_kind


@pytest.mark.parametrize("address", OVER_GRPC)
async def test_a_client_takes_the_address_that_connect_takes(address: str) -> None:
    with SandboxClient(address=address) as client, flash_sandbox.connect(address) as same:
        assert repr(client) == repr(same)


@pytest.mark.parametrize(
    ("address", "kind"), [("http://host:1", HTTPClient), ("grpc://host:1", SandboxClient)]
)
async def test_no_address_is_that_of_the_environment(
    address: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASH_SANDBOX_ADDR", address)
    with flash_sandbox.connect(timeout=7, max_retries=3) as client:
        assert repr(client) == f"{kind.__name__}('host:1', timeout=7.0, max_retries=3)"


@pytest.mark.parametrize("address", ["", "ftp://host", "grpc://", 5, b"host"])
async def test_a_malformed_address_is_refused(address: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        flash_sandbox.connect(address)
    with pytest.raises(InvalidArgumentError):
        await flash_sandbox.connect_async(address)
