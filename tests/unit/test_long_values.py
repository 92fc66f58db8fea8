"""Long binary values go into JSON and come out of it as a JSON writer and reader would have them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox.codecs.http import encode_frame
from flash_sandbox.codecs.http_client import codec_of
from flash_sandbox.codecs.long_values import LONG, put_in, taken_out
from flash_sandbox.errors import ProtocolError
from flash_sandbox.models import ExecFrame
from flash_sandbox.operations import EXEC_STREAM

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@given(data=st.binary(max_size=100), before=TEXTS, after=TEXTS)
def test_what_is_put_in_is_what_a_writer_writes(data: bytes, before: str, after: str) -> None:
    fields = {"before": before, "data": "", "after": after}
    written = put_in(json.dumps(fields, separators=(",", ":")).encode(), {"data": data})
    assert json.loads(written) == fields | {"data": base64.b64encode(data).decode()}


@given(data=st.binary(max_size=100), before=TEXTS, after=TEXTS)
def test_what_is_taken_out_is_what_a_reader_reads(data: bytes, before: str, after: str) -> None:
    fields = {"before": before, "data": base64.b64encode(data).decode(), "after": after}
    found = taken_out(json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(), "data")
    if found is not None:
        short, text = found
        assert json.loads(short) == fields | {"data": ""}
        assert base64.b64decode(text) == data


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"data":5}',
        b'{"data":"YQ',
        b'{"data":"Y\\/Q="}',
        b'{"error":{"data":"YQ=="}}',
        b'{"data" : "YQ=="}',
    ],
)
def test_what_is_written_otherwise_is_left_to_the_reader(line: bytes) -> None:
    assert taken_out(line, "data") is None


@given(size=st.integers(LONG - 100, LONG + 5000), offset=st.integers(0, 2**40))
def test_long_frames_come_back_as_they_were(size: int, offset: int) -> None:
    frame = ExecFrame("stdout", "id", bytes(range(256)) * (size // 256) + b"x" * (size % 256), offset)
    line = encode_frame(EXEC_STREAM, frame)
    assert json.loads(line)["data"] == base64.b64encode(frame.data).decode()
    assert codec_of(EXEC_STREAM).frame(line.rstrip(b"\n")) == frame


@pytest.mark.parametrize("junk", [b"*", b"=", b"\xff", b"\n"])
def test_a_long_frame_that_is_no_base64_is_refused(junk: bytes) -> None:
    line = b'{"type":"stdout","data":"' + b"A" * LONG + junk + b'AAA"}'
    with pytest.raises(ProtocolError):
        codec_of(EXEC_STREAM).frame(line)
