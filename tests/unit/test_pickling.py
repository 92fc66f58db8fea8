"""A pickled client is its address and options; it never holds a key, and what cannot be kept is refused."""

from __future__ import annotations

import copy
import pickle
import ssl
from typing import Any

import grpc
import httpx
import pytest
import requests

import flash_sandbox
from flash_sandbox import AsyncHTTPClient, AsyncSandboxClient, HTTPClient, Sandbox, SandboxClient

CLIENTS = [HTTPClient, SandboxClient, AsyncHTTPClient, AsyncSandboxClient]
ADDRESSES = ["localhost:1", "https://[::1]:8443/a/prefix", "unix:///run/x.sock"]


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_client_is_pickled_as_its_address_and_options(kind: Any, address: str) -> None:
    client = kind(address=address, timeout=7, max_retries=1, api_key="the-secret")
    pickled = pickle.dumps(client)
    again = pickle.loads(pickled)
    assert type(again) is kind
    assert repr(again) == repr(client)
    assert repr(again.with_options(timeout=None)) == repr(client.with_options(timeout=None))
    assert pickle.dumps(again) == pickled
    assert b"the-secret" not in pickled


@pytest.mark.parametrize("kind", CLIENTS)
def test_tls_is_kept(kind: Any) -> None:
    client = kind(address="https://host")
    assert str(pickle.loads(pickle.dumps(client))) == str(client)
    over_grpc = pickle.loads(pickle.dumps(SandboxClient("host", 50051, ssl=True)))
    assert b"https://host:50051/" in pickle.dumps(over_grpc)


@pytest.mark.parametrize(
    ("client", "argument"),
    [
        (HTTPClient(session=httpx.Client()), "session"),
        (HTTPClient(session=requests.Session()), "session"),
        (AsyncHTTPClient(session=httpx.AsyncClient()), "session"),
        (SandboxClient(ssl=ssl.create_default_context()), "ssl"),
        (AsyncSandboxClient(metadata={"authorization": "Bearer the-secret"}), "metadata"),
        (SandboxClient(channel=grpc.insecure_channel("localhost:1")), "channel"),
    ],
)
def test_one_that_was_made_with_more_is_refused_by_its_name(client: Any, argument: str) -> None:
    message = f"this {type(client).__name__} cannot be pickled: it was made with {argument}="
    with pytest.raises(TypeError, match=message):
        pickle.dumps(client)
    if "Async" not in type(client).__name__:
        with pytest.raises(TypeError, match=message):
            pickle.dumps(Sandbox(client, "an-id"))


def test_a_sandbox_is_pickled_as_its_clients_address_and_its_id() -> None:
    client = HTTPClient(address="localhost:1", api_key="the-secret")
    sandboxes = [Sandbox(client, "one"), Sandbox(client, "other")]
    pickled = pickle.dumps(sandboxes)
    one, other = pickle.loads(pickled)
    assert [repr(one), repr(other)] == [repr(each) for each in sandboxes]
    assert b"the-secret" not in pickled
    # Each has a client of its own, which it closes.
    one.close()
    with pytest.raises(flash_sandbox.ClientClosedError):
        one.status()
    with pytest.raises(flash_sandbox.SandboxConnectionError):
        other.status()
    other.close()


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", [HTTPClient, SandboxClient])
def test_a_copy_shares_the_connections(kind: Any, make_copy: Any) -> None:
    client = kind(address="localhost:1", api_key="the-secret")
    make_copy(client).close()
    with pytest.raises(flash_sandbox.ClientClosedError):
        client.get_status("a")


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_sandbox_closes_nothing_of_the_first_one(make_copy: Any) -> None:
    client = HTTPClient(address="localhost:1", session=httpx.Client())
    owner = pickle.loads(pickle.dumps(Sandbox(HTTPClient(port=1), "an-id")))
    for sandbox in (Sandbox(client, "an-id"), owner):
        copied = make_copy(sandbox)
        assert repr(copied) == repr(sandbox)
        copied.close()
        with pytest.raises(flash_sandbox.SandboxConnectionError):
            sandbox.status()
        sandbox.close()
    client.close()
