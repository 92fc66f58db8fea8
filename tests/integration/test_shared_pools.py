"""One sandbox cannot use up what the kernel has for all: buffers, terminals, watches, signals in flight."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from every_runtime import Runtime
from inside import output_of_exec, output_of_main, running

from flash_sandbox import HTTPClient, SandboxEndedError
from flash_sandbox.orchestrator import Orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

X86_64 = os.uname().machine == "x86_64"
INOTIFY_INIT1 = 294 if X86_64 else 26

# How many of something can be had at once, of the number that is tried.
OPEN_TERMINALS = "for (1 .. 200) { open($_[$_], '+<', '/dev/ptmx') or last; $n++ } print $n"
MAKE_INOTIFY = f"for (1 .. 200) {{ syscall({INOTIFY_INIT1}, 0) == -1 and last; $n++ }} print $n"

# Fills both directions of 30 connections that nobody reads from, and prints how many bytes that has taken.
FILL_BUFFERS = """
my ($total, @open) = (0);
my $home = pack("S n C4 x8", 2, 0, 127, 0, 0, 1);
socket(my $listener, 2, 1, 6) or die "socket: $!";
bind($listener, $home) or die "bind: $!";
listen($listener, 128) or die "listen: $!";
my $place = getsockname($listener);
for (1 .. 30) {
    socket(my $one, 2, 1, 6) or die "socket: $!";
    connect($one, $place) or die "connect: $!";
    accept(my $other, $listener) or die "accept: $!";
    push @open, $one, $other;
}
my $chunk = "x" x 65536;
for my $round (1 .. 3) {
    for my $socket (@open) {
        while (1) {
            # MSG_DONTWAIT | MSG_NOSIGNAL
            my $sent = send($socket, $chunk, 0x4040) or last;
            $total += $sent;
        }
    }
    select(undef, undef, undef, 0.05);
}
print $total;
"""


@pytest.fixture(scope="module")
def client(orchestrator: Orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


@pytest.fixture(params=["main process", "exec"])
def inside(request: pytest.FixtureRequest, client: HTTPClient) -> Callable[[str], str]:
    run = output_of_main if request.param == "main process" else output_of_exec
    return lambda script: run(client, script)


def test_buffers_of_tcp_count_as_memory(runtime: Runtime, limits: Limits) -> None:
    if runtime.type == "bubblewrap" and limits != "enforce":
        pytest.skip("nothing limits the buffers of TCP where there is no cgroup")
    with runtime.sandbox(memory_mb=96) as sandbox_id:
        perl = runtime.perl(sandbox_id)
        try:
            result = runtime.client.exec_command(sandbox_id, [*perl, "-e", FILL_BUFFERS])
        except SandboxEndedError:
            # They are memory of gVisor's, which ends as a whole where it takes too much.
            assert runtime.type == "gvisor"
            return
        # The kernel may as well end what fills them. Each socket may exceed its share by a little.
        assert result.exit_code == 137 or int(result.stdout) <= 128 * 1024 * 1024, result


def test_terminals(inside: Callable[[str], str]) -> None:
    assert inside(f"perl -e '{OPEN_TERMINALS.replace(chr(39), chr(34))}'") == "64"


def test_watchers_of_files(inside: Callable[[str], str]) -> None:
    # A host may allow less.
    assert int(inside(f"perl -e '{MAKE_INOTIFY}'")) <= 64


def test_what_one_sandbox_has_taken_another_one_can_still_have(client: HTTPClient) -> None:
    with running(client) as greedy, running(client) as other:
        hold = f"{OPEN_TERMINALS}; $| = 1; open(F, '>', '/tmp/held'); close F; sleep 1000"
        client.exec_command(greedy, ["sh", "-c", 'perl -e "$HOLD" > /dev/null 2>&1 &'], env={"HOLD": hold})
        client.exec_command(greedy, ["sh", "-c", "until [ -e /tmp/held ]; do sleep 0.01; done"])
        assert client.exec_command(greedy, ["perl", "-e", OPEN_TERMINALS]).stdout == ""
        assert client.exec_command(other, ["perl", "-e", OPEN_TERMINALS]).stdout == "64"


def test_resource_limits(inside: Callable[[str], str]) -> None:
    lines = inside("cat /proc/self/limits").splitlines()[1:]
    hard = {line[:26].strip(): line[26:].split()[1] for line in lines}
    most = {
        "Max core file size": 0,
        "Max open files": 16_384,
        "Max locked memory": 8 * 1024 * 1024,
        "Max pending signals": 4096,
        "Max msgqueue size": 409_600,
    }
    assert {name for name, value in most.items() if int(hard[name]) > value} == set()
