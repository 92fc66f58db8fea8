"""What a sandbox with a network may reach, decided as a packet filter does: by the first match."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from flash_sandbox.orchestrator.network.egress import Egress
from flash_sandbox.orchestrator.runtimes.docker.packet_filter import rules

SUBNET = IPv4Network("172.18.0.0/16")
NEIGHBOURS = [IPv4Network("81.2.69.160/29"), IPv4Network("192.168.77.0/24")]
NAME_SERVERS = [IPv4Address("10.0.0.53")]
HOST = IPv4Address("81.2.69.161")


def passes(egress: Egress, address: str, port: int = 80, protocol: str = "tcp") -> bool:
    """Tell whether the first packet of a connection is let through."""
    to = IPv4Address(address)
    for words in rules(egress, SUBNET, NEIGHBOURS, NAME_SERVERS):
        said = dict(zip(words[::2], words[1::2], strict=True))
        network = IPv4Network(said.pop("-d", "0.0.0.0/0"))
        matches = (
            to in network
            and said.pop("--ctstate", "NEW") == "NEW"
            and said.pop("-p", protocol) == protocol
            and int(said.pop("--dport", port)) == port
            and (said.pop("--dst-type", "") != "LOCAL" or to == HOST)
        )
        if matches:
            return said["-j"] == "RETURN"
    return True


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "192.169.0.1", "168.63.129.17"]
)
def test_the_public_internet_is_open(address: str) -> None:
    assert passes(Egress(), address)
    assert not passes(Egress.parse(["any"], ["0.0.0.0/0"]), address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
        "192.0.0.192", "192.168.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "168.63.129.16",
        "100.100.100.200", "81.2.69.162", str(HOST), "172.18.0.7",
    ],
)  # fmt: skip
def test_everything_else_is_closed(address: str) -> None:
    assert not passes(Egress(), address)


def test_a_name_server_answers_questions_alone() -> None:
    assert passes(Egress(), "10.0.0.53", 53, "udp")
    assert passes(Egress(), "10.0.0.53", 53, "tcp")
    assert not passes(Egress(), "10.0.0.53", 80)
    assert not passes(Egress(), "10.0.0.54", 53, "udp")
    assert not passes(Egress.parse([], ["10.0.0.53"]), "10.0.0.53", 53, "udp")


@pytest.mark.parametrize("word", ["private", "metadata", "0.0.0.0/0", "172.16.0.0/12"])
def test_nothing_but_host_opens_the_host_and_nothing_opens_other_sandboxes(word: str) -> None:
    assert passes(Egress.parse([word], []), str(HOST)) is False
    assert passes(Egress.parse([word, "host"], []), str(HOST))
    assert not passes(Egress.parse([word, "host"], []), "172.18.0.7")


def test_any_opens_everything_that_is_not_denied_but_other_sandboxes() -> None:
    egress = Egress.parse(["any"], ["metadata"])
    assert all(passes(egress, address) for address in (str(HOST), "10.0.0.1", "81.2.69.162"))
    assert not any(passes(egress, address) for address in ("169.254.169.254", "172.18.0.7"))


def test_what_is_of_ipv6_is_taken_and_needs_no_rule() -> None:
    assert list(rules(Egress.parse(["2001:db8::/32"], ["fd00::/8"]), SUBNET, [], [])) == list(
        rules(Egress(), SUBNET, [], [])
    )
