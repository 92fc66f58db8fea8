"""What the orchestrator samples by itself, and what it takes for that."""

from __future__ import annotations

import time
from collections.abc import Callable

from every_runtime import Runtime

from flash_sandbox import HTTPClient, Sandbox
from flash_sandbox.models import MetricsPoint
from flash_sandbox.orchestrator import Orchestrator


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


def test_history_is_sampled_of_every_runtime(runtime: Runtime) -> None:
    with runtime.sandbox(memory_mb=96) as sandbox_id:
        began = time.time()
        (point,) = runtime.client.get_metrics_history(sandbox_id)[-1:]
        assert began - 10 < point.at <= time.time()
        assert point.memory_limit_bytes in (96 * 1024 * 1024, 0)
        assert point.memory_usage_bytes > 0


def test_who_asks_is_told_what_happens_from_then_on(runtime: Runtime) -> None:
    with runtime.sandbox() as sandbox_id:
        client = runtime.client
        first = client.get_metrics_history(sandbox_id)[-1]
        client.start_process(sandbox_id, "while :; do :; done")

        def later() -> list[MetricsPoint]:
            return client.get_metrics_history(sandbox_id, since=first.at)

        until(later, "another sample")
        assert all(point.at > first.at for point in later())
        assert later()[0].cpu_percent > 1


def test_sampling_does_not_shorten_what_the_callers_readings_measure(orchestrator: Orchestrator) -> None:
    with HTTPClient(address=orchestrator.http_address) as client, Sandbox.create(client=client) as sandbox:
        sandbox.get_metrics()
        sandbox.exec_command("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
        sandbox.get_metrics_history()
        assert sandbox.get_metrics().cpu_percent > 5


def test_stopped_sandbox_that_is_kept_tells_its_history(orchestrator: Orchestrator) -> None:
    with HTTPClient(address=orchestrator.http_address) as client, Sandbox.create(client=client) as sandbox:
        before = sandbox.get_metrics_history()
        sandbox.stop_sandbox(cleanup=False)
        assert sandbox.get_metrics_history() == before != []
