"""What the kernel's tables say of ports that are listened on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox.models import PortInfo
from flash_sandbox.orchestrator.core.listening import listening

TCP = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
"""
TCP6 = b"""\
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 00000000:00000000
"""


def test_what_listens_is_read_and_nothing_else() -> None:
    assert listening(TCP, TCP6) == (
        PortInfo(22, "0.0.0.0"),
        PortInfo(80, "127.0.0.1"),
        PortInfo(8080, "127.0.0.1"),
        PortInfo(8080, "::1"),
    )


def test_a_port_is_named_once() -> None:
    assert listening(TCP, TCP) == listening(TCP)


def test_no_more_is_told_than_is_reasonable() -> None:
    line = b"0: %08X:0001 00000000:0000 0A 0\n"
    assert len(listening(b"".join(line % number for number in range(20_000)))) == 10_000


@given(st.binary(max_size=300))
def test_what_a_sandbox_made_up_does_no_harm(table: bytes) -> None:
    for cut in range(0, len(TCP), 7):
        assert len(listening(TCP[:cut] + table)) <= 4
