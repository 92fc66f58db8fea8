"""What the entries of a network policy name, and which addresses a policy lets through."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox import InvalidArgumentError, Network
from flash_sandbox.models.rules import Rule, address_of, host_name
from flash_sandbox.orchestrator.network.egress import INTERNET, Egress
from flash_sandbox.orchestrator.network.judge import Judge, Operator, Refused, Target
from flash_sandbox.orchestrator.network.names import Names, parse_table


class ByTurns(Names):
    """A resolver that gives another answer each time."""

    def __init__(self, *answers: list[str]) -> None:
        super().__init__({})
        self.answers = iter(answers)

    async def resolve(self, name: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        return [ipaddress.ip_address(text) for text in next(self.answers)]


@pytest.mark.parametrize(
    ("entry", "host", "port", "allowed"),
    [
        ("a.test", "a.test", 443, True),
        ("a.test", "a.test", 80, True),
        ("a.test", "a.test", 22, False),
        ("a.test:22", "a.test", 22, True),
        ("a.test:22", "a.test", 443, False),
        ("a.test:*", "a.test", 1, True),
        ("A.Test.", "a.test", 443, True),
        ("*.a.test", "b.a.test", 443, True),
        ("*.a.test", "c.b.a.test", 443, True),
        ("*.a.test", "a.test", 443, False),
        ("*.a.test", "ba.test", 443, False),
        ("*", "any.test", 443, True),
        ("*", "10.0.0.1", 443, False),
        ("10.0.0.0/8", "10.0.0.1", 443, True),
        ("10.0.0.0/8:*", "10.0.0.1", 5432, True),
        ("10.0.0.1:5432", "10.0.0.1", 5432, True),
        ("10.0.0.1", "a.test", 443, False),
        ("[2001:db8::/32]:443", "2001:db8::1", 443, True),
        ("2001:db8::1", "2001:db8::1", 80, True),
        ("bücher.test", "xn--bcher-kva.test", 443, True),
    ],
)
def test_entry_names(entry: str, host: str, port: int, allowed: bool) -> None:
    assert Rule.parse(entry).allows(address_of(host) or host, port) is allowed


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "a b",
        "a.test:0",
        "a.test:65536",
        "a.test:x",
        "a..test",
        "*a.test",
        "a.*.test",
        "10.0.0.1/8",
        "-a.test",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "[::1",
        "::1:",
        "http://a.test",
        "a.test/x",
        "a\0b",
        "a" * 64,
    ],
)
def test_what_is_no_entry(entry: str) -> None:
    with pytest.raises(InvalidArgumentError):
        Network(allow=[entry])


@given(st.text(max_size=40))
def test_any_text_is_an_entry_or_refused(text: str) -> None:
    try:
        Network(allow=[text])
    except InvalidArgumentError:
        return
    assert Rule.parse(text).allows("other.test", 443) is (
        text in ("*", "*:*", "*:443") or "other.test" in text.lower() or "*.test" in text.lower()
    )


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "100.100.100.200",
        "198.18.0.1",
        "192.0.0.170",
        "::1",
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "::7f00:1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "64:ff9b::a9fe:a9fe",
        "2001:db8::1",
    ],
)
def test_address_that_is_not_public(address: str) -> None:
    assert not INTERNET.is_public(ipaddress.ip_address(address))
    assert not INTERNET.allows(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1", "2002:101:101::"]
)
def test_address_that_is_public(address: str) -> None:
    assert INTERNET.is_public(ipaddress.ip_address(address))
    denied = Egress.parse([], [str(ipaddress.ip_network("1.0.0.0/8")), "8.0.0.0/8", "2606:4700::/32"])
    assert not denied.is_public(ipaddress.ip_address(address))


async def test_private_address_needs_the_operator_and_the_policy() -> None:
    target = Target("db.test", 5432)
    for allow, policy, refusal in [
        ([], ["db.test:5432"], "not allowed by the operator"),
        (["10.0.0.0/8"], ["db.test:5432"], "policy does not name it"),
        ([], ["db.test:5432", "10.0.0.0/8:5432"], "not allowed by the operator"),
        (["10.0.0.0/8"], ["db.test:5432", "10.0.0.0/8:5432"], None),
        (["private"], ["db.test:5432", "10.1.2.3:*"], None),
    ]:
        judge = Judge(Network(allow=policy), Operator(Egress.parse(allow, []), ByTurns(["10.1.2.3"])))
        if refusal is None:
            assert [str(address) for address in await judge.addresses(target)] == ["10.1.2.3"]
        else:
            with pytest.raises(Refused, match=rf"db\.test:5432: .*{refusal}"):
                await judge.addresses(target)


async def test_a_name_is_resolved_once_and_what_was_judged_is_connected_to() -> None:
    judge = Judge(
        Network(allow=["a.test"]), Operator(INTERNET, ByTurns(["1.1.1.1", "127.0.0.1"], ["127.0.0.1"]))
    )
    assert [str(address) for address in await judge.addresses(Target("a.test", 443))] == ["1.1.1.1"]
    with pytest.raises(Refused):
        await judge.addresses(Target("a.test", 443))


async def test_what_is_not_allowed_is_not_resolved() -> None:
    judge = Judge(Network(allow=["a.test"]), Operator(INTERNET, ByTurns()))
    for name in ("secret.b.test", "secret.a.test"):
        with pytest.raises(Refused, match=name):
            await judge.addresses(Target(name, 443))


async def test_denied_goes_first() -> None:
    policy = Network(allow=["*.a.test"], deny=["b.a.test", "1.1.1.0/24"])
    judge = Judge(policy, Operator(INTERNET, ByTurns(["1.1.1.1"], ["8.8.8.8"])))
    for name, refusal in [("b.a.test", "does not allow it"), ("c.a.test", "policy denies its address")]:
        with pytest.raises(Refused, match=refusal):
            await judge.addresses(Target(name, 443))
    assert [str(address) for address in await judge.addresses(Target("c.a.test", 443))] == ["8.8.8.8"]


@pytest.mark.parametrize(
    "authority", ["a.test", "a.test:", "a.test:0", "a.test:99999", "u@a.test:1", "a.test:1:2", ":1"]
)
def test_what_is_no_host_and_port(authority: str) -> None:
    with pytest.raises(Refused):
        Target.split(authority)


@given(st.text(max_size=60))
def test_any_text_is_a_host_and_port_or_refused(text: str) -> None:
    try:
        target = Target.split(text)
    except Refused:
        return
    assert Target.split(str(target)) == target


@given(st.text(max_size=30))
def test_a_name_is_its_own_name(text: str) -> None:
    try:
        name = host_name(text)
    except ValueError:
        return
    assert (host_name(name), address_of(name)) == (name, None)


def test_table_of_names() -> None:
    found = parse_table(["A.test=10.0.0.1", "a.test=::1"])
    assert {name: list(map(str, addresses)) for name, addresses in found.items()} == {
        "a.test": ["10.0.0.1", "::1"]
    }
    for entry in ("a.test", "a.test=b.test", "=1.1.1.1", "127.1=1.1.1.1"):
        with pytest.raises(ValueError, match=r"no name|NAME=ADDRESS"):
            parse_table([entry])
