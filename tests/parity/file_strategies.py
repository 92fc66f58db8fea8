"""Random values of the models of files."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st
from values import arguments, doubles, ids, texts, uint64

from flash_sandbox import models

__all__ = ["STRATEGIES"]

contents = st.binary(max_size=300)
paths = arguments.map(lambda text: f"/{text}")
modes = st.integers(0, 0o7777)
uint32 = st.integers(0, 2**32 - 1)

files = st.builds(
    models.FileInfo,
    name=arguments,
    type=texts,
    size=uint64,
    mode=modes,
    uid=uint32,
    gid=uint32,
    modified_at=doubles,
    link_target=arguments,
)
entries = files.filter(lambda info: info.name not in ("", ".", "..") and "/" not in info.name)
listened = st.builds(models.PortInfo, st.integers(0, 65535), texts)

STRATEGIES: Final[dict[type[Any], st.SearchStrategy[Any]]] = {
    models.ReadFileRequest: st.builds(models.ReadFileRequest, ids, paths),
    models.ReadFileResult: st.builds(models.ReadFileResult, contents),
    models.WriteFileRequest: st.builds(
        models.WriteFileRequest, ids, paths, contents, mode=modes, parents=st.booleans()
    ),
    models.StatRequest: st.builds(models.StatRequest, ids, paths),
    models.StatResult: st.builds(models.StatResult, files),
    models.ListDirRequest: st.builds(models.ListDirRequest, ids, paths),
    models.ListDirResult: st.builds(models.ListDirResult, st.lists(entries, max_size=3).map(tuple)),
    models.MakeDirRequest: st.builds(models.MakeDirRequest, ids, paths, mode=modes, parents=st.booleans()),
    models.RemoveRequest: st.builds(models.RemoveRequest, ids, paths, recursive=st.booleans()),
    models.MoveRequest: st.builds(models.MoveRequest, ids, paths, paths),
    # What the archive holds goes beside the request.
    models.UploadArchiveRequest: st.builds(models.UploadArchiveRequest, ids, paths),
    models.DownloadArchiveRequest: st.builds(models.DownloadArchiveRequest, ids, paths),
    models.DownloadArchiveChunk: st.builds(models.DownloadArchiveChunk, contents),
    models.ConnectPortRequest: st.builds(models.ConnectPortRequest, ids, st.integers(1, 65535)),
    models.ListPortsRequest: st.builds(models.ListPortsRequest, ids),
    models.ListPortsResult: st.builds(models.ListPortsResult, st.lists(listened, max_size=3).map(tuple)),
    models.GetPortUrlRequest: st.builds(
        models.GetPortUrlRequest, ids, st.integers(1, 65535), st.floats(0, 316_224_000, allow_subnormal=False)
    ),
    models.GetPortUrlResult: st.builds(models.GetPortUrlResult, st.text()),
    models.ConnectPortChunk: st.builds(models.ConnectPortChunk, contents),
    # What is sent goes beside the request.
    models.SendToPortRequest: st.builds(models.SendToPortRequest, ids, ids, st.booleans()),
    models.DisconnectPortRequest: st.builds(models.DisconnectPortRequest, ids, ids),
    **{
        kind: st.builds(kind)
        for kind in (
            models.WriteFileResult,
            models.MakeDirResult,
            models.RemoveResult,
            models.MoveResult,
            models.UploadArchiveResult,
            models.SendToPortResult,
            models.DisconnectPortResult,
        )
    },
}
"""A strategy for each model."""
