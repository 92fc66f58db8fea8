"""Servers in a sandbox, written in Perl without any module, so that they run on every runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from every_runtime import Runtime
from inside import wait_until

from flash_sandbox import PortClosedError, WrongStateError

_SERVER: Final = r"""
my ($port, $what) = @ARGV;
$SIG{CHLD} = "IGNORE";
socket(my $listener, 2, 1, 0) or die;
setsockopt($listener, 1, 2, pack("i", 1)) or die;
bind($listener, pack("Sna4x8", 2, $port, "\x7f\0\0\1")) or die;
listen($listener, 512) or die;
while (accept(my $peer, $listener)) {
    next if fork;
    my $data;
    eval $what;
    die $@ if $@;
    exit 0;
}
"""

ECHO: Final = "syswrite($peer, $data) while sysread($peer, $data, 65536);"
"""Sends everything back, and ends where the input ends."""

COUNT: Final = "my $n = 0; while (my $r = sysread($peer, $data, 1 << 20)) { $n += $r } syswrite($peer, $n);"
"""Answers how many bytes there were, once they have ended."""

SOURCE: Final = (
    "sysread($peer, $data, 100); my $x = '0123456789abcdef' x 4096; syswrite($peer, $x) for 1 .. $data;"
)
"""Sends as many pieces of 64 KiB as it is asked for."""

CLOSES: Final = (
    "syswrite($peer, 'said'); shutdown($peer, 1); my $n = 0; "
    "while (my $r = sysread($peer, $data, 65536)) { $n += $r } "
    "if ($n) { open(F, '>', '/tmp/taken'); print F $n }"
)
"""Closes its side at once, and writes to `TAKEN` how many bytes come until the other side is closed."""

TAKEN: Final = "/tmp/taken"

SILENT: Final = "sleep 100"
"""Reads nothing."""

RESET: Final = (
    "sysread($peer, $data, 100); syswrite($peer, 'half'); select(undef, undef, undef, 0.3); "
    "setsockopt($peer, 1, 13, pack('ii', 1, 0));"
)
"""Breaks off in the middle of its answer, as a server that dies."""


@contextmanager
def serving(runtime: Runtime, sandbox_id: str, port: int, what: str) -> Iterator[None]:
    """Run a server for the length of a block, and begin once it listens."""
    command = [*runtime.perl(sandbox_id), "-e", _SERVER, str(port), what]
    process_id = runtime.client.start_process(sandbox_id, command)

    def listens() -> bool:
        try:
            runtime.client.connect_port(sandbox_id, port).close()
        except PortClosedError:
            return False
        return True

    wait_until(listens, "the server listens")
    try:
        yield
    finally:
        # It may have ended with its sandbox.
        with suppress(WrongStateError):
            runtime.client.signal_process(sandbox_id, process_id, "KILL")
