"""Finding sandboxes and what is known of them, through every client."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest

from flash_sandbox import ConflictError, HTTPClient, InvalidArgumentError, SandboxAPI, SandboxNotFoundError
from flash_sandbox.models import SandboxInfo
from flash_sandbox.orchestrator import Orchestrator

Connect = Callable[..., SandboxAPI]

KEPT_OUTPUT = 64 * 1024


@contextmanager
def started(client: SandboxAPI, **options: Any) -> Iterator[str]:
    """Start a sandbox for the length of a block, in which it may be stopped."""
    sandbox_id = client.start_sandbox(**{"memory_mb": 64, **options})
    try:
        yield sandbox_id
    finally:
        with suppress(SandboxNotFoundError):
            client.stop_sandbox(sandbox_id)


@pytest.fixture
def mark() -> dict[str, str]:
    """Return a label that no other test's sandbox has."""
    return {"test": secrets.token_hex(8)}


def pages(client: SandboxAPI, **options: Any) -> Iterator[list[SandboxInfo]]:
    """Yield page after page."""
    token = ""
    while True:
        page = client.list_sandboxes(page_token=token, **options)
        yield list(page.sandboxes)
        token = page.next_page_token
        if not token:
            return


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


class TestInfo:
    def test_it_tells_all_that_was_asked_for_and_what_became_of_it(
        self, client: SandboxAPI, mark: dict[str, str]
    ) -> None:
        began = time.time()
        command = ["sleep", "1000"]
        with started(
            client,
            command=command,
            cpu_cores=0.5,
            name="a.name-1",
            labels=mark,
            ttl_seconds=600,
            pids=100,
            shm_mb=8,
            disk_mb=9,
            env={"A": "b=c", "D": ""},
            user="root",
            idle_timeout=300,
            on_idle="pause",
            auto_resume=True,
        ) as one:
            info = client.get_info(one)
            assert info == SandboxInfo(
                id=one,
                name="a.name-1",
                status="running",
                type="bubblewrap",
                image="host",
                command=("sleep", "1000"),
                labels=(f"test={mark['test']}",),
                memory_mb=64,
                cpu_cores=0.5,
                network="none",
                created_at=info.created_at,
                expires_at=info.expires_at,
                pids=100,
                shm_mb=8,
                disk_mb=9,
                env=("A=b=c", "D="),
                user="0:0",
                idle_timeout=300.0,
                on_idle="pause",
                auto_resume=True,
            )
            assert info in client.list_sandboxes(labels=mark).sandboxes
            assert began <= info.created_at <= time.time()
            assert info.created_at + 600 <= info.expires_at <= time.time() + 600

    def test_it_tells_what_holds_where_the_start_said_nothing(self, client: SandboxAPI) -> None:
        one = client.start_sandbox()
        info = client.get_info(one)
        client.stop_sandbox(one)
        assert (info.memory_mb, info.cpu_cores, info.pids, info.shm_mb, info.disk_mb) == (
            512,
            1.0,
            512,
            64,
            0,
        )
        assert (info.expires_at, info.env, info.user, info.image_command) == (0, (), "", False)

    def test_it_tells_how_the_main_process_ended(self, client: SandboxAPI) -> None:
        with started(client, command=["sh", "-c", "exit 3"]) as one:
            until(lambda: client.get_info(one).status == "stopped", "its end")
            assert client.get_info(one).exit_code == 3


class TestNames:
    def test_a_name_that_another_sandbox_has_is_refused(self, client: SandboxAPI) -> None:
        with started(client, name="taken") as one:
            with pytest.raises(ConflictError, match=one) as caught:
                client.start_sandbox(name="taken", memory_mb=64)
            error = caught.value
            assert (error.reason, error.status_code, error.grpc_status) == (
                "already_exists",
                409,
                "ALREADY_EXISTS",
            )

    def test_a_name_is_free_once_its_sandbox_is_gone(self, client: SandboxAPI) -> None:
        for _ in range(2):
            with started(client, name="again"):
                pass

    def test_a_name_is_free_once_its_start_has_failed(self, client: SandboxAPI) -> None:
        for _ in range(2):
            with pytest.raises(InvalidArgumentError, match="cannot be run"):
                client.start_sandbox(name="failing", command=["/no/such/program"], memory_mb=64)

    def test_a_sandbox_is_not_called_by_its_name(self, client: SandboxAPI) -> None:
        with started(client, name="named"), pytest.raises(SandboxNotFoundError):
            client.get_info("named")

    @pytest.mark.parametrize(
        "options",
        [{"name": "a/b"}, {"name": "-a"}, {"name": "a\0"}, {"labels": ["novalue"]}, {"labels": ["=x"]}],
    )
    def test_malformed_ones_are_refused_before_any_transport(
        self, client: SandboxAPI, options: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            client.start_sandbox(**options)
        assert caught.value.transport is None


class TestList:
    def test_it_is_of_those_that_have_every_label(self, client: SandboxAPI, mark: dict[str, str]) -> None:
        with (
            started(client, labels={**mark, "tier": "a"}) as one,
            started(client, labels={**mark, "tier": "b"}) as other,
        ):
            assert [info.id for info in client.list_sandboxes(labels=mark).sandboxes] == [one, other]
            found = client.list_sandboxes(labels={**mark, "tier": "b"}).sandboxes
            assert found == (client.get_info(other),)

    def test_it_is_of_those_of_a_status_and_a_type(self, client: SandboxAPI, mark: dict[str, str]) -> None:
        with started(client, labels=mark) as runs, started(client, labels=mark) as pauses:
            client.snapshot_sandbox(pauses)
            for status, expected in (("running", [runs]), ("paused", [pauses]), ("unheard-of", [])):
                found = client.list_sandboxes(labels=mark, status=status).sandboxes
                assert [info.id for info in found] == expected
            for type, expected in (("bubblewrap", [runs, pauses]), ("docker", []), ("auto", [])):
                found = client.list_sandboxes(labels=mark, type=type).sandboxes
                assert [info.id for info in found] == expected

    def test_what_comes_and_goes_between_pages_neither_repeats_nor_hides_others(
        self, client: SandboxAPI, mark: dict[str, str]
    ) -> None:
        with ExitStack() as stack:
            ids = [stack.enter_context(started(client, labels=mark)) for _ in range(7)]
            seen: list[str] = []
            for number, page in enumerate(pages(client, labels=mark, page_size=2)):
                seen += [info.id for info in page]
                if number == 0:
                    # The last one that was seen, one that was seen before, and one that is due next.
                    for gone in (ids[1], ids[0], ids[2]):
                        client.stop_sandbox(gone)
                    ids.append(stack.enter_context(started(client, labels=mark)))
            assert seen == [one for one in ids if one != ids[2]]

    def test_pages_are_whole_while_others_come_and_go(
        self, client: SandboxAPI, orchestrator: Orchestrator, mark: dict[str, str]
    ) -> None:
        with ExitStack() as stack, HTTPClient(address=orchestrator.http_address) as other:
            stay = [stack.enter_context(started(client, labels=mark)) for _ in range(5)]
            pool = stack.enter_context(ThreadPoolExecutor(1))

            def churn() -> None:
                for _ in range(15):
                    with started(other, labels=mark):
                        pass

            churning = pool.submit(churn)
            rounds = 0
            while not churning.done() or rounds == 0:
                rounds += 1
                found = [info for page in pages(client, labels=mark, page_size=1) for info in page]
                assert [info.id for info in found if info.id in stay] == stay
                assert all(one.created_at < two.created_at for one, two in pairwise(found))
            churning.result()

    @pytest.mark.parametrize("token", ["x", "0x1.8000000000000p+30", "1-a", "nan-a", "\u20ac", "a" * 5000])
    def test_a_malformed_token_is_refused(self, client: SandboxAPI, token: str) -> None:
        with pytest.raises(InvalidArgumentError, match="no token of a page") as caught:
            client.list_sandboxes(page_token=token)
        assert (caught.value.status_code, caught.value.operation) == (400, "list_sandboxes")

    @pytest.mark.parametrize("options", [{"page_size": -1}, {"page_size": 1001}, {"status": "a\0"}])
    def test_what_is_out_of_range_is_refused_before_any_transport(
        self, client: SandboxAPI, options: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            client.list_sandboxes(**options)
        assert caught.value.transport is None


class TestLogs:
    def test_they_are_what_the_main_process_printed_on_either_stream(self, client: SandboxAPI) -> None:
        with started(client, command=["sh", "-c", "echo out; echo err >&2; printf '\\377'"]) as one:
            until(lambda: client.get_status(one) == "stopped", "its end")
            logs = client.get_logs(one)
            assert (logs.output, logs.dropped) == (b"out\nerr\n\xff", 0)
            assert logs.text == "out\nerr\n\N{REPLACEMENT CHARACTER}"

    def test_the_last_of_it_is_kept_and_the_rest_is_counted(self, client: SandboxAPI) -> None:
        with started(client, command=["sh", "-c", "yes | head -c 300000; printf end"]) as one:
            until(lambda: client.get_logs(one).output.endswith(b"end"), "all of its output")
            logs = client.get_logs(one)
            assert (len(logs.output), logs.dropped) == (KEPT_OUTPUT, 300_003 - KEPT_OUTPUT)


class TestKeptAfterItsEnd:
    @pytest.fixture
    def kept(self, client: SandboxAPI) -> Iterator[str]:
        command = ["sh", "-c", "echo printed; exec sleep 1000"]
        with started(client, command=command) as one:
            until(lambda: client.get_logs(one).output, "its output")
            client.stop_sandbox(one, cleanup=False)
            yield one

    def test_it_is_stopped_and_still_known(self, client: SandboxAPI, kept: str) -> None:
        assert client.get_status(kept) == "stopped"
        assert client.get_info(kept).status == "stopped"
        assert client.get_logs(kept).output == b"printed\n"

    def test_nothing_can_be_done_in_it(self, client: SandboxAPI, kept: str) -> None:
        for call in (
            lambda: client.exec_command(kept, ["true"]),
            lambda: client.start_process(kept, ["true"]),
            lambda: client.snapshot_sandbox(kept),
            lambda: client.pause_sandbox(kept),
            lambda: client.resume_sandbox(kept),
            lambda: client.get_metrics(kept),
        ):
            with pytest.raises(ConflictError, match="is stopped") as caught:
                call()
            assert caught.value.reason == "wrong_state"

    def test_a_second_stop_removes_it(self, client: SandboxAPI, kept: str) -> None:
        client.stop_sandbox(kept, cleanup=False)
        client.stop_sandbox(kept)
        with pytest.raises(SandboxNotFoundError):
            client.get_status(kept)

    def test_a_paused_one_can_be_kept_too(self, client: SandboxAPI, sandbox_id: str) -> None:
        client.snapshot_sandbox(sandbox_id)
        client.stop_sandbox(sandbox_id, cleanup=False)
        assert client.get_status(sandbox_id) == "stopped"

    def test_its_files_are_kept_until_it_is_removed(
        self, client: SandboxAPI, sandbox_id: str, orchestrator: Orchestrator
    ) -> None:
        assert orchestrator.state_dir is not None
        client.exec_command(sandbox_id, ["sh", "-c", "echo kept > /tmp/file"])
        client.stop_sandbox(sandbox_id, cleanup=False)
        layer = orchestrator.state_dir / "sandboxes" / sandbox_id
        (file,) = layer.rglob("tmp/file")
        assert file.read_text() == "kept\n"
        client.stop_sandbox(sandbox_id)
        assert not layer.exists()


@pytest.mark.parametrize("method", ["get_info", "get_logs"])
def test_an_unknown_sandbox_is_not_found(client: SandboxAPI, method: str) -> None:
    with pytest.raises(SandboxNotFoundError, match="unknown") as caught:
        getattr(client, method)("unknown")
    assert (caught.value.operation, caught.value.status_code) == (method, 404)
