"""Addresses: one set of rules for all clients."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flash_sandbox import InvalidArgumentError
from flash_sandbox.address import Address, parse_address


def parse(address: str | None, *, tls: bool | None = None) -> Address:
    return parse_address(address, "localhost", 8080, tls=tls)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("localhost:9090", Address("localhost", 9090)),
        ("localhost", Address("localhost", 80)),
        ("https://example.com", Address("example.com", 443, tls=True)),
        ("HTTPS://example.com", Address("example.com", 443, tls=True)),
        ("http://example.com:8080/", Address("example.com", 8080)),
        (
            "http://proxy:9090/v1/service/sandbox",
            Address("proxy", 9090, prefix="/v1/service/sandbox"),
        ),
        ("localhost:8092/v1/service/sandbox/", Address("localhost", 8092, prefix="/v1/service/sandbox")),
        ("[::1]:8080", Address("::1", 8080)),
        ("[::1]", Address("::1", 80)),
        ("https://[2001:db8::1]/x", Address("2001:db8::1", 443, tls=True, prefix="/x")),
        ("unix:///run/flash.sock", Address("localhost", 80, unix_path="/run/flash.sock")),
        ("10.0.0.1:1", Address("10.0.0.1", 1)),
        ("my_host.internal.", Address("my_host.internal.", 80)),
        ("b\u00fccher.example:80", Address("xn--bcher-kva.example", 80)),
    ],
)
def test_address_is_read(address: str, expected: Address) -> None:
    assert parse(address) == expected


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "empty"),
        ("local host", "space"),
        ("localhost\n", "control"),
        ("ftp://localhost", "scheme 'ftp'"),
        ("localhost:", "port ''"),
        ("localhost:0", "1 to 65535"),
        ("localhost:65536", "1 to 65535"),
        ("localhost:http", "port 'http'"),
        ("localhost:99999999999999999999", "1 to 65535"),
        ("localhost:\u0661", "port"),
        ("::1", "brackets"),
        ("[::1", "bracket"),
        ("[::1]8080", "bracket"),
        ("[localhost]:80", "not IPv6"),
        ("[::g]:80", "IPv6"),
        ("http://", "host name"),
        (":8080", "host name"),
        ("a..b:80", "host name"),
        ("-a:80", "host name"),
        ("user:secret@localhost:80", "api_key"),
        ("localhost:80/a/../b", "'..'"),
        ("localhost:80//a", "segment ''"),
        ("localhost:80/%zz", "segment"),
        ("localhost:80?x=1", "query"),
        ("localhost:80/a#b", "fragment"),
        ("unix://relative", "absolute"),
        ("unix:///", "absolute"),
    ],
)
def test_malformed_address_is_refused_with_what_is_wrong(address: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words.replace("[", r"\[")) as caught:
        parse(address)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("grpc://localhost:50051/a", Address("localhost", 50051, prefix="/a")),
        ("GRPCS://example.com", Address("example.com", 443, tls=True)),
        ("http://localhost:50051", Address("localhost", 50051)),
        ("grpc+unix:///run/flash.sock", Address("localhost", 80, unix_path="/run/flash.sock")),
    ],
)
def test_a_client_of_grpc_takes_schemes_of_its_own(address: str, expected: Address) -> None:
    assert parse_address(address, "", 0, grpc=True) == expected


@pytest.mark.parametrize("address", ["grpc://localhost:50051", "GRPCS://localhost", "grpc+unix:///x"])
def test_a_client_of_http_refuses_them_and_names_the_other_clients(address: str) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"is for gRPC and this client speaks HTTP: use SandboxCli"
    ):
        parse(address)


@pytest.mark.parametrize(("address", "tls"), [("grpc://h", True), ("grpcs://h", False)])
def test_tls_that_contradicts_a_scheme_of_grpc_is_refused(address: str, tls: bool) -> None:
    with pytest.raises(InvalidArgumentError, match="contradict"):
        parse_address(address, "", 0, tls=tls, grpc=True)


@pytest.mark.parametrize(
    "address",
    [
        "localhost:1",
        "LOCALHOST.:1",
        "a.localhost:1",
        "127.0.0.1:1",
        "127.255.0.9:1",
        "127.1:1",
        "2130706433:1",
        "0x7f.1:1",
        "0.0.0.0:1",
        "[::1]:1",
        "[::]:1",
        "[::ffff:127.0.0.1]:1",
        "unix:///x",
    ],
)
def test_an_address_of_this_machine_is_known(address: str) -> None:
    assert parse(address).is_loopback


@pytest.mark.parametrize(
    "address",
    ["localhost.example.com:1", "evillocalhost:1", "128.0.0.1:1", "10.127.0.0:1", "[fe80::1]:1", "host:1"],
)
def test_so_is_one_of_another(address: str) -> None:
    assert not parse(address).is_loopback


def test_credentials_of_an_address_are_not_repeated_in_the_error() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse("http://user:secret@localhost")
    assert "secret" not in str(caught.value)


def test_host_and_port_are_taken_where_there_is_no_address() -> None:
    assert parse_address(None, "::1", 50051) == Address("::1", 50051)


@pytest.mark.parametrize("port", [0, 65536, -1, True, "80", 80.0, None])
def test_port_out_of_range_or_of_wrong_type_is_refused(port: object) -> None:
    with pytest.raises(InvalidArgumentError, match="port must be"):
        parse_address(None, "localhost", port)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["", "http://localhost", "localhost:80", "a/b", None, 1])
def test_host_that_is_none_is_refused(host: object) -> None:
    with pytest.raises(InvalidArgumentError, match="host"):
        parse_address(None, host, 80)  # type: ignore[arg-type]


def test_tls_that_was_asked_for_beside_the_address_sets_the_default_port() -> None:
    assert parse("example.com", tls=True) == Address("example.com", 443, tls=True)


@pytest.mark.parametrize(("address", "tls"), [("http://h", True), ("https://h", False)])
def test_tls_that_contradicts_the_scheme_is_refused(address: str, tls: bool) -> None:
    with pytest.raises(InvalidArgumentError, match="contradict"):
        parse(address, tls=tls)


def test_base_url_has_brackets_and_the_prefix() -> None:
    assert parse("https://[::1]:8443/a/b/").base_url == "https://[::1]:8443/a/b/"


@given(st.text())
@example("http://[::1%25eth0]:80")
@example("\ud800")
def test_any_text_is_read_or_refused(address: str) -> None:
    try:
        parsed = parse(address)
    except InvalidArgumentError:
        return
    if parsed.unix_path is None:
        assert parse(parsed.base_url) == parsed
