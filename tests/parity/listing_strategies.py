"""Random values of the models of lists, expiry and events."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from flash_sandbox import models

__all__ = ["STRATEGIES"]

uint64 = st.integers(0, 2**64 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
doubles = st.floats(allow_nan=False, allow_infinity=False)
# Surrogates are what UTF-8 cannot carry; models refuse them.
texts = st.text(st.characters(exclude_categories=["Cs"]))
arguments = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0="), min_size=1, max_size=20)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", fullmatch=True)
labels = st.lists(st.builds("{}={}".format, names, arguments), max_size=4).map(tuple)
ttls = st.floats(0, models.MAX_TTL_SECONDS, exclude_min=True)

sandboxes = st.builds(
    models.SandboxInfo,
    **dict.fromkeys(
        ("id", "name", "status", "type", "image", "network", "user", "end_cause", "on_idle"), texts
    ),
    command=st.lists(texts, max_size=4).map(tuple),
    labels=st.lists(texts, max_size=4).map(tuple),
    env=st.lists(texts, max_size=4).map(tuple),
    network_allow=st.lists(texts, max_size=4).map(tuple),
    network_deny=st.lists(texts, max_size=4).map(tuple),
    **dict.fromkeys(("memory_mb", "pids", "shm_mb", "disk_mb"), int64),
    image_command=st.booleans(),
    cpu_cores=doubles,
    created_at=doubles,
    expires_at=doubles,
    ended_at=doubles,
    idle_timeout=doubles,
    auto_resume=st.booleans(),
    exit_code=int32,
)

rules = st.lists(
    st.sampled_from(["a.test", "*.a.test:22", "*:*", "10.0.0.0/8", "[2001:db8::1]:443"]), max_size=4
).map(tuple)
policies = st.fixed_dictionaries(
    {"network": st.just("policy"), "network_allow": rules, "network_deny": rules}
)

points = st.builds(
    models.MetricsPoint,
    **dict.fromkeys(
        (
            "memory_usage_bytes",
            "memory_limit_bytes",
            "pids_current",
            "net_rx_bytes",
            "net_tx_bytes",
            "block_read_bytes",
            "block_write_bytes",
            "disk_used_bytes",
            "disk_limit_bytes",
        ),
        uint64,
    ),
    **dict.fromkeys(("memory_percent", "cpu_percent", "at"), doubles),
)

named_volumes = st.builds(models.VolumeInfo, texts, doubles, st.lists(texts, max_size=4).map(tuple))

STRATEGIES: dict[type[Any], st.SearchStrategy[Any]] = {
    models.CreateVolumeRequest: st.builds(models.CreateVolumeRequest, ids),
    models.CreateVolumeResult: st.builds(models.CreateVolumeResult),
    models.ListVolumesRequest: st.builds(models.ListVolumesRequest),
    models.ListVolumesResult: st.builds(
        models.ListVolumesResult, st.lists(named_volumes, max_size=4).map(tuple)
    ),
    models.RemoveVolumeRequest: st.builds(models.RemoveVolumeRequest, ids),
    models.RemoveVolumeResult: st.builds(models.RemoveVolumeResult),
    models.StopRequest: st.builds(models.StopRequest, ids, st.booleans()),
    models.ListSandboxesRequest: st.builds(
        models.ListSandboxesRequest,
        status=arguments,
        type=arguments,
        labels=labels,
        page_size=st.integers(0, models.MAX_PAGE_SIZE),
        page_token=arguments,
    ),
    models.ListSandboxesResult: st.builds(
        models.ListSandboxesResult, st.lists(sandboxes, max_size=4).map(tuple), texts
    ),
    models.GetInfoRequest: st.builds(models.GetInfoRequest, ids),
    models.GetInfoResult: st.builds(models.GetInfoResult, sandboxes),
    models.GetLogsRequest: st.builds(models.GetLogsRequest, ids),
    models.GetLogsResult: st.builds(models.GetLogsResult, st.binary(), uint64),
    models.GetMetricsHistoryRequest: st.builds(
        models.GetMetricsHistoryRequest,
        ids,
        st.integers(0, 2**63 - 1),
        st.integers(0, models.MAX_HISTORY_POINTS),
    ),
    models.GetMetricsHistoryResult: st.builds(
        models.GetMetricsHistoryResult, st.lists(points, max_size=4).map(tuple)
    ),
    models.SetNetworkRequest: st.builds(
        lambda id, what: models.SetNetworkRequest(id, **what),
        ids,
        policies | st.fixed_dictionaries({"network": st.sampled_from(["none", "bridge"])}),
    ),
    models.SetNetworkResult: st.builds(models.SetNetworkResult),
    models.KeepAliveRequest: st.builds(models.KeepAliveRequest, ids, ttls),
    models.KeepAliveResult: st.builds(models.KeepAliveResult, doubles),
    models.WatchEventsRequest: st.builds(models.WatchEventsRequest, arguments),
    models.Event: st.builds(models.Event, texts, ids, texts, doubles, texts),
}
"""For the requests and results of these operations; `StartRequest` is no part of them."""
