"""Layers of what the engine saves: found by their digests, whatever they begin with."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from snapshot_tars import member

from flash_sandbox.errors import InternalServerError
from flash_sandbox.orchestrator.runtimes.docker.snapshot_transfer import unpack_layers

END = bytes(1024)


def layer(name: str) -> bytes:
    return member(name, b"content") + END


def saved(*contents: bytes) -> io.BytesIO:
    return io.BytesIO(b"".join(member(f"blobs/{n}", data) for n, data in enumerate(contents)) + END)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("name", ["file", "BZh.txt", "BZh91AY&SY"])
@pytest.mark.parametrize("stored", [bytes, gzip.compress, bz2.compress])
def test_a_layer_is_found_however_it_is_stored(
    tmp_path: Path, name: str, stored: Callable[[bytes], bytes]
) -> None:
    wanted = layer(name)
    file = saved(b"{}", b"", stored(wanted), layer("BZh other"), stored(wanted), gzip.compress(b"other")[:9])
    unpack_layers(file, [digest(wanted)], tmp_path)
    (found,) = tmp_path.iterdir()
    assert (f"sha256:{found.name}", found.read_bytes()) == (digest(wanted), wanted)


def test_one_that_expands_too_much_is_none_and_leaves_nothing(tmp_path: Path) -> None:
    wanted = bytes(128 * 2**20)
    with pytest.raises(InternalServerError, match="without layer"):
        unpack_layers(saved(bz2.compress(wanted)), [digest(wanted)], tmp_path)
    assert not list(tmp_path.iterdir())
