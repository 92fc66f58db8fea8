"""What a sandbox of Docker Engine's with a network reaches: the Internet, and what the operator allows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack

import network_world as places
import pytest
from docker_engine import IMAGE, missing, running_engine
from inside import wait_until
from network_world import World, world_around

from flash_sandbox import HTTPClient, PermissionDeniedError, Reason, SandboxAPI, SandboxClient
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.embedded import OrchestratorOptions
from flash_sandbox.orchestrator.network.egress import Egress
from flash_sandbox.orchestrator.runtimes.docker import bridge
from flash_sandbox.orchestrator.runtimes.docker.runtime import DockerRuntime

KEPT = (places.NEIGHBOUR, places.PUBLIC_NEIGHBOUR, *places.ELSEWHERE[1:])
"""What a sandbox must not reach unless it is allowed, the host aside."""


@pytest.fixture(scope="module")
def world(need, tmp_path_factory) -> Iterator[World]:
    need("docker", missing())
    need("iproute", places.missing())
    with (
        running_engine() as engine,
        world_around(engine, tmp_path_factory.mktemp("world")) as world,
    ):
        yield world


@contextmanager
def orchestrator_in(world: World, **options: Unpack[OrchestratorOptions]) -> Iterator[Orchestrator]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", world.engine.host)
        with running_orchestrator(limits="best-effort", **options) as running:
            yield running


@contextmanager
def connected(
    running: Orchestrator, kind: type[HTTPClient] | type[SandboxClient] = HTTPClient
) -> Iterator[SandboxAPI]:
    over_http = kind is HTTPClient
    with kind(address=running.http_address if over_http else running.grpc_address) as client:
        yield client


@contextmanager
def on_bridge(client: SandboxAPI) -> Iterator[str]:
    sandbox_id = client.start_sandbox("docker", IMAGE, memory_mb=64, network="bridge")
    try:
        yield sandbox_id
    finally:
        client.stop_sandbox(sandbox_id)


def reached(client: SandboxAPI, sandbox_id: str, *addresses: str) -> list[str]:
    """Return those of some addresses whose server a sandbox reaches."""
    script = 'p=$1; shift; for a; do test "$(nc -w 5 $a $p < /dev/null)" = reached && echo $a; done; true'
    result = client.exec_command(sandbox_id, ["sh", "-c", script, "sh", str(places.PORT), *addresses])
    assert result.exit_code == 0, result
    return result.stdout.split()


def rules(world: World) -> str:
    return "".join(world.on_host(program, "-S") for program in ("iptables", "ip6tables"))


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[Orchestrator]:
    with orchestrator_in(world) as running:
        yield running


@pytest.fixture(scope="module", params=[HTTPClient, SandboxClient], ids=["http", "grpc"])
def client(running: Orchestrator, request: pytest.FixtureRequest) -> Iterator[SandboxAPI]:
    with connected(running, request.param) as client:
        yield client


@pytest.fixture(scope="module")
def sandbox_id(client: SandboxAPI) -> Iterator[str]:
    with on_bridge(client) as sandbox_id:
        yield sandbox_id


def gateway(client: SandboxAPI, sandbox_id: str) -> str:
    """Return the address that the host has on the sandbox's own network."""
    script = "ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'"
    return client.exec_command(sandbox_id, script).stdout.strip()


def own_address(client: SandboxAPI, sandbox_id: str) -> str:
    """Return the sandbox's own address."""
    script = "ip -4 address show eth0 | sed -n 's/.*inet \\([^/]*\\).*/\\1/p'"
    return client.exec_command(sandbox_id, script).stdout.strip()


class TestByDefault:
    def test_the_internet_is_reached_by_address_and_by_name(
        self, client: SandboxAPI, sandbox_id: str
    ) -> None:
        places_there = (places.PUBLIC, "index.example.org")
        assert reached(client, sandbox_id, *places_there) == list(places_there)

    def test_metadata_neighbours_and_private_networks_are_not(
        self, client: SandboxAPI, sandbox_id: str
    ) -> None:
        assert reached(client, sandbox_id, *KEPT) == []

    def test_neither_is_the_host_by_any_of_its_addresses(self, client: SandboxAPI, sandbox_id: str) -> None:
        hosts = (places.HOST, places.PUBLIC_HOST, gateway(client, sandbox_id), "172.17.0.1")
        assert reached(client, sandbox_id, *hosts) == []

    def test_neither_are_other_sandboxes(self, client: SandboxAPI, sandbox_id: str) -> None:
        with on_bridge(client) as other:
            serve = f"(while :; do echo -n reached | nc -l -p {places.PORT}; done) > /dev/null 2>&1 &"
            client.exec_command(other, serve)
            wait_until(lambda: reached(client, other, "127.0.0.1") == ["127.0.0.1"], "the server to listen")
            assert reached(client, sandbox_id, own_address(client, other)) == []

    def test_there_is_no_ipv6(self, client: SandboxAPI, sandbox_id: str) -> None:
        assert client.exec_command(sandbox_id, ["cat", "/proc/net/if_inet6"]).stdout == ""

    def test_the_name_server_answers_nothing_else(self, client: SandboxAPI, sandbox_id: str) -> None:
        assert reached(client, sandbox_id, places.NAME_SERVER) == []

    def test_a_refusal_is_told_at_once(self, client: SandboxAPI, sandbox_id: str) -> None:
        result = client.exec_command(sandbox_id, ["nc", "-w", "60", places.METADATA, str(places.PORT)])
        assert "No route to host" in result.stderr or "unreachable" in result.stderr, result


@pytest.mark.parametrize(
    ("options", "there", "kept"),
    [
        (
            {"allow_networks": ["10.9.8.0/24"]},
            [places.PRIVATE],
            [places.NEIGHBOUR, places.METADATA, places.HOST],
        ),
        (
            {"allow_networks": ["private"]},
            [places.PRIVATE, places.NEIGHBOUR, "100.64.3.4"],
            [places.METADATA, places.HOST, "198.18.0.9"],
        ),
        ({"allow_networks": ["metadata"]}, [places.METADATA, "168.63.129.16"], [places.PRIVATE, places.HOST]),
        ({"allow_networks": ["host"]}, [places.HOST, places.PUBLIC_HOST], [places.PRIVATE, places.METADATA]),
        (
            {"allow_networks": ["private"], "deny_networks": ["10.0.0.0/8", places.PUBLIC]},
            [places.NEIGHBOUR],
            [places.PRIVATE, places.PUBLIC],
        ),
        ({"allow_networks": ["any"]}, [*KEPT, places.PUBLIC], []),
        ({"allow_networks": ["any"], "deny_networks": ["metadata"]}, [places.PRIVATE], [places.METADATA]),
        ({"deny_networks": ["0.0.0.0/0"]}, [], [places.PUBLIC]),
    ],
    ids=["range", "private", "metadata", "host", "denied", "any", "any-but", "nothing"],
)
def test_the_operator_decides(
    world: World, options: OrchestratorOptions, there: list[str], kept: list[str]
) -> None:
    with orchestrator_in(world, **options) as running, connected(running) as client, on_bridge(client) as one:
        assert reached(client, one, *there, *kept) == there


@contextmanager
def serving(
    world: World, state_dir: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[str], HTTPClient]]:
    """Run an orchestrator as a process of its own, and give a client of it."""
    command = [sys.executable, "-m", "flash_sandbox.cli", "serve", "--json", "--limits", "best-effort"]
    command += [
        "--http-port",
        "0",
        "--grpc-port",
        "0",
        "--state-dir",
        str(state_dir),
        "--end-sandboxes",
        *options,
    ]
    environment = os.environ | {"DOCKER_HOST": world.engine.host}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with HTTPClient(address=json.loads(process.stdout.readline())["http_address"]) as client:
                yield process, client
        finally:
            process.terminate()


def test_the_operator_says_so_on_the_command_line(world: World, tmp_path: Path) -> None:
    options = ["--max-network", "bridge", "--default-network", "bridge"]
    options += ["--allow-network", "private", "--allow-network", "host", "--deny-network", "10.0.0.0/8"]
    with serving(world, tmp_path, *options) as (_, client):
        sandbox_id = client.start_sandbox("docker", IMAGE, memory_mb=64)
        there = [places.NEIGHBOUR, places.HOST, places.PUBLIC]
        assert reached(client, sandbox_id, *there, places.PRIVATE, places.METADATA) == there


class TestTheRules:
    def test_are_gone_with_the_orchestrator_and_no_other_is_touched(self, world: World) -> None:
        before = rules(world)
        with orchestrator_in(world) as running, connected(running) as client, on_bridge(client):
            assert rules(world) != before
        assert rules(world) == before
        assert [network["Name"] for network in world.engine.call("GET", "/networks")].count("bridge") == 1

    def test_are_there_once_however_many_sandboxes_there_are(self, world: World, client: SandboxAPI) -> None:
        with on_bridge(client):
            before = rules(world)
            with on_bridge(client), on_bridge(client):
                assert rules(world) == before

    @pytest.mark.parametrize(
        "harm",
        [
            "iptables -F DOCKER-USER; iptables -A DOCKER-USER -j RETURN",
            "iptables -I DOCKER-USER -j RETURN",
            "iptables -I INPUT -j ACCEPT",
            "for c in $(iptables -S | sed -n 's/-N \\(FLASH-SANDBOX-.*\\)/\\1/p'); do iptables -F $c; done",
            "for c in $(iptables -S | sed -n 's/-N \\(FLASH-SANDBOX-.*\\)/\\1/p'); do iptables -D $c 2; done",
            "iptables -F INPUT",
            "ip6tables -F INPUT; ip6tables -F FORWARD",
        ],
    )
    def test_are_put_back_before_a_sandbox_starts(
        self, world: World, running: Orchestrator, harm: str
    ) -> None:
        with connected(running) as client:
            with on_bridge(client):
                world.on_host("sh", "-c", harm)
            with on_bridge(client) as sandbox_id:
                kept = (places.METADATA, places.PRIVATE, places.HOST)
                assert reached(client, sandbox_id, places.PUBLIC, *kept) == [places.PUBLIC]
                assert world.on_host("ip6tables", "-S").count("-i fsb-") == 2

    def test_are_put_back_while_a_sandbox_runs(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bridge, "LOOK_SECONDS", 0.1)
        with orchestrator_in(world) as running, connected(running) as client, on_bridge(client) as one:
            world.on_host("iptables", "-F", "INPUT")
            world.on_host("iptables", "-F", "DOCKER-USER")
            wait_until(
                lambda: reached(client, one, places.METADATA, places.HOST) == [], "the rules to be back"
            )

    def test_are_put_back_for_the_sandboxes_of_an_orchestrator_that_was_killed(
        self, world: World, tmp_path: Path
    ) -> None:
        with serving(world, tmp_path) as (process, client):
            client.start_sandbox("docker", IMAGE, memory_mb=64, network="bridge")
            process.kill()
        owner = (tmp_path / "containers/docker/owner").read_text()
        assert rules(world).count(owner) == 4
        world.on_host("iptables", "-F", "INPUT")
        with orchestrator_in(world, state_dir=tmp_path):
            assert rules(world).count(owner) == 4
        assert owner not in rules(world)

    def test_of_two_orchestrators_hold_side_by_side(self, world: World) -> None:
        with (
            orchestrator_in(world) as strict,
            orchestrator_in(world, allow_networks=["private"]) as lax,
            connected(strict) as one,
            connected(lax) as other,
            on_bridge(one) as kept_in,
            on_bridge(other) as let_out,
        ):
            for _ in range(2):
                assert reached(one, kept_in, places.PRIVATE) == []
                assert reached(other, let_out, places.PRIVATE) == [places.PRIVATE]
                with on_bridge(one), on_bridge(other):
                    pass


def test_a_snapshot_brings_no_network_back_that_the_operator_forbids(world: World, tmp_path: Path) -> None:
    with (
        orchestrator_in(world, state_dir=tmp_path) as running,
        connected(running) as client,
        on_bridge(client) as sandbox_id,
    ):
        path = client.snapshot_sandbox(sandbox_id).snapshot_path
    with orchestrator_in(world, state_dir=tmp_path, max_network="none") as running:
        for kind in (HTTPClient, SandboxClient):
            with connected(running, kind) as client:
                with pytest.raises(PermissionDeniedError) as caught:
                    client.start_sandbox("docker", snapshot_path=path)
                assert caught.value.reason == Reason.NETWORK_REFUSED
                client.stop_sandbox(client.start_sandbox("docker", snapshot_path=path, network="none"))


class TestWhereTheyCannotBeSet:
    @pytest.fixture
    def elsewhere(self, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
        """Give a search path without the program that sets them."""
        monkeypatch.setenv("PATH", str(tmp_path))
        for program in ("nsenter", "cat"):
            (tmp_path / program).symlink_to(f"/usr/bin/{program}")
        return "iptables"

    def test_a_network_is_refused_with_what_is_missing(self, world: World, elsewhere: str) -> None:
        before = world.engine.containers()
        with orchestrator_in(world) as running:
            for kind in (HTTPClient, SandboxClient):
                with (
                    connected(running, kind) as client,
                    pytest.raises(PermissionDeniedError, match=elsewhere) as caught,
                ):
                    client.start_sandbox("docker", IMAGE, network="bridge")
                assert caught.value.reason == Reason.NETWORK_REFUSED
                assert "--allow-network any" in caught.value.detail
        assert len(world.engine.containers()) == len(before)

    async def test_a_doctor_says_so(self, world: World, elsewhere: str, tmp_path: Path) -> None:
        found = await DockerRuntime(tmp_path, host=world.engine.host).check()
        assert found.available
        assert [elsewhere in warning for warning in found.warnings if "bridge" in warning] == [True]
        lax = DockerRuntime(tmp_path, host=world.engine.host, egress=Egress.parse(["any"], []))
        assert not [warning for warning in (await lax.check()).warnings if "bridge" in warning]

    def test_the_operator_may_take_the_risk(self, world: World, elsewhere: str) -> None:
        with (
            orchestrator_in(world, allow_networks=["any"]) as running,
            connected(running) as client,
            on_bridge(client) as sandbox_id,
        ):
            assert reached(client, sandbox_id, places.PRIVATE) == [places.PRIVATE]
