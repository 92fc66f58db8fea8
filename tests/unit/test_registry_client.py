"""What is asked of a registry, and what of its answers is believed: against one that misbehaves."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from layouts import ARCHITECTURE, entry, sha256, tar_bytes

from flash_sandbox import InvalidArgumentError, UnavailableError
from flash_sandbox.orchestrator.images import registry as registry_module
from flash_sandbox.orchestrator.images.credentials import AUTH_VARIABLE
from flash_sandbox.orchestrator.images.references import parse_source
from flash_sandbox.orchestrator.images.store import Image, ImageStore

TAR = tar_bytes([entry("f", content=b"x" * 100_000)])
LAYER = gzip.compress(TAR, 0, mtime=0)
CONFIGURATION = json.dumps(
    {"os": "linux", "architecture": ARCHITECTURE, "rootfs": {"diff_ids": [sha256(TAR)]}}
).encode()
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "config": {"digest": sha256(CONFIGURATION), "size": len(CONFIGURATION)},
        "layers": [{"digest": sha256(LAYER), "size": len(LAYER)}],
    }
).encode()
LAYER_PATH = f"/v2/image/blobs/{sha256(LAYER)}"
HONEST = {
    "/v2/image/manifests/latest": MANIFEST,
    f"/v2/image/blobs/{sha256(CONFIGURATION)}": CONFIGURATION,
    LAYER_PATH: LAYER,
}

Behaviour = Callable[["Handler"], bool]
"""Answers a request in its own way; False where it leaves that to the honest one."""


class Handler(BaseHTTPRequestHandler):
    """Serves one image, unless the test's behaviour has answered already."""

    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        if not type(self).behaviour(self):
            self.answer(200, HONEST[self.path])

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Served:
    """A registry that misbehaves, and what it was asked."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = server.asked  # type: ignore[attr-defined]
        self.name = f"127.0.0.1:{server.server_port}"


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[Served]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"behaviour": behaviour}))
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Served(server)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch) -> None:
    monkeypatch.setattr(registry_module, "_PAUSE_SECONDS", 0)
    monkeypatch.setenv(AUTH_VARIABLE, "{}")


async def pull(served: Served, tmp_path: Path) -> Image:
    store = ImageStore(tmp_path / "store", registries=("*",))
    store.open()
    return await store.acquire(parse_source(f"{served.name}/image"))


def once(action: Callable[[Handler], None], path: str = "") -> Behaviour:
    """Do something at the first request, of a path where one is given, and be honest then."""
    done: list[bool] = []

    def behaviour(handler: Handler) -> bool:
        if done or path not in ("", handler.path):
            return False
        done.append(True)
        action(handler)
        return True

    return behaviour


async def test_an_honest_one_is_asked_once_for_each_document(tmp_path):
    with serving(lambda _: False) as served:
        image = await pull(served, tmp_path)
    assert (image.rootfs / "f").stat().st_size == 100_000
    assert sorted(path for path, _ in served.asked) == sorted(HONEST)


async def test_no_proxy_is_used_for_one_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with serving(lambda _: False) as served:
        assert (await pull(served, tmp_path)).rootfs.is_dir()


@pytest.mark.parametrize("proxy", ["http://user:secret@127.0.0.1:9", "gopher://user:secret@127.0.0.1:9"])
async def test_a_proxy_through_which_another_is_not_reached_is_named(tmp_path, monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    store = ImageStore(tmp_path / "store", registries=("*",))
    store.open()
    with pytest.raises(UnavailableError, match=r"through the proxy \w+://127\.0\.0\.1:9") as caught:
        await store.acquire(parse_source("registry.example/image"))
    assert "secret" not in str(caught.value)


def half(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", str(len(LAYER)))
    handler.end_headers()
    handler.wfile.write(LAYER[: len(LAYER) // 2])
    handler.close_connection = True


def half_without_length(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(LAYER[: len(LAYER) // 2])
    handler.close_connection = True


@pytest.mark.parametrize("cut", [half, half_without_length])
async def test_a_server_that_knows_no_ranges_sends_all_again(tmp_path, cut):
    with serving(once(cut, LAYER_PATH)) as served:
        image = await pull(served, tmp_path)
    assert (image.rootfs / "f").stat().st_size == 100_000
    ranges = [headers.get("range", "") for path, headers in served.asked if path == LAYER_PATH]
    assert ranges == ["", f"bytes={len(LAYER) // 2}-"]


async def test_a_range_that_was_not_asked_for_is_not_taken_for_the_rest(tmp_path):
    cut = once(half, LAYER_PATH)

    def behaviour(handler: Handler) -> bool:
        if cut(handler):
            return True
        if "range" not in handler.headers:
            return False
        handler.answer(206, LAYER, content_range=f"bytes 0-{len(LAYER) - 1}/{len(LAYER)}")
        return True

    with serving(behaviour) as served:
        image = await pull(served, tmp_path)
    assert (image.rootfs / "f").stat().st_size == 100_000


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_what_may_pass_is_tried_again(tmp_path, status):
    with serving(once(lambda handler: handler.answer(status))) as served:
        assert (await pull(served, tmp_path)).digest == sha256(MANIFEST)


async def test_what_does_not_pass_is_given_up(tmp_path):
    def behaviour(handler: Handler) -> bool:
        handler.answer(503)
        return True

    with serving(behaviour) as served, pytest.raises(UnavailableError, match="HTTP status 503"):
        await pull(served, tmp_path)
    assert len(served.asked) == 5


async def test_a_document_without_end_is_refused(tmp_path):
    def endless(handler: Handler) -> None:
        handler.answer(200, bytes(5 * 1024 * 1024))

    with serving(once(endless)) as served, pytest.raises(InvalidArgumentError, match="more than 4194304"):
        await pull(served, tmp_path)


async def test_a_layer_without_end_is_refused(tmp_path):
    def endless(handler: Handler) -> None:
        handler.answer(200, LAYER * 3)

    with (
        serving(once(endless, LAYER_PATH)) as served,
        pytest.raises(InvalidArgumentError, match="larger than"),
    ):
        await pull(served, tmp_path)


@pytest.mark.parametrize(
    "location", ["http://example.invalid/x", "http://192.0.2.1/x", "ftp://127.0.0.1/x", "file:///etc/passwd"]
)
async def test_a_redirection_to_where_others_listen_is_refused(tmp_path, location):
    with (
        serving(once(lambda handler: handler.answer(307, location=location))) as served,
        pytest.raises(InvalidArgumentError),
    ):
        await pull(served, tmp_path)


async def test_a_redirection_that_goes_round_is_refused(tmp_path):
    def behaviour(handler: Handler) -> bool:
        handler.answer(307, location=handler.path)
        return True

    with serving(behaviour) as served, pytest.raises(InvalidArgumentError, match="answers badly"):
        await pull(served, tmp_path)


async def test_a_password_is_not_sent_where_a_redirection_leads(tmp_path, monkeypatch):
    with serving(lambda _: False) as storage:

        def behaviour(handler: Handler) -> bool:
            if "authorization" not in handler.headers:
                handler.answer(401, www_authenticate='Basic realm="test"')
            elif handler.path == LAYER_PATH:
                handler.answer(307, location=f"http://{storage.name}{LAYER_PATH}")
            else:
                return False
            return True

        with serving(behaviour) as served:
            login = {"username": "u", "password": "p"}
            monkeypatch.setenv(AUTH_VARIABLE, json.dumps({"auths": {served.name: login}}))
            image = await pull(served, tmp_path)
    assert image.digest == sha256(MANIFEST)
    assert [headers.get("authorization") for _, headers in storage.asked] == [None]


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="http://example.invalid/token"',
        'Bearer realm="not a URL at all"',
        'Bearer realm=""',
        "Bearer",
    ],
)
async def test_a_token_is_not_asked_for_where_others_listen(tmp_path, challenge):
    with (
        serving(once(lambda handler: handler.answer(401, www_authenticate=challenge))) as served,
        pytest.raises(InvalidArgumentError),
    ):
        await pull(served, tmp_path)


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb: c"}'])
async def test_a_token_that_is_none_is_refused(tmp_path, answer):
    def behaviour(handler: Handler) -> bool:
        if handler.path.startswith("/token"):
            handler.answer(200, answer)
        else:
            realm = f"http://127.0.0.1:{handler.server.server_address[1]}/token"
            handler.answer(401, www_authenticate=f'Bearer realm="{realm}",service="s"')
        return True

    with serving(behaviour) as served, pytest.raises(InvalidArgumentError, match="gives no token"):
        await pull(served, tmp_path)


@pytest.mark.parametrize(
    ("header", "offered"),
    [
        (['Basic realm="a, b"'], {"basic": {"realm": "a, b"}}),
        (["BASIC realm=x"], {"basic": {"realm": "x"}}),
        (
            ['Bearer realm="https://a/t",service="s", scope="repository:a/b:pull,push"'],
            {"bearer": {"realm": "https://a/t", "service": "s", "scope": "repository:a/b:pull,push"}},
        ),
        (
            ['Basic realm="x", Bearer realm="y"'],
            {"basic": {"realm": "x"}, "bearer": {"realm": "y"}},
        ),
        (["Digest nonce=1", 'Basic realm="say \\"x\\""'], {"basic": {"realm": 'say "x"'}}),
        ([], {}),
    ],
)
def test_a_challenge_is_read(header, offered):
    assert registry_module._parse_challenges(header) == offered


# Indexes


INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def index_of(document: bytes, *, size: int | None = None) -> bytes:
    """Return an index whose one image, of this host's platform, is a document."""
    platform = {"os": "linux", "architecture": ARCHITECTURE}
    size = len(document) if size is None else size
    entry = {"digest": sha256(document), "size": size, "platform": platform}
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}).encode()


def serving_index(index: bytes, chosen: bytes, named: bytes = MANIFEST) -> Behaviour:
    """Answer with an index for the tag, and with a document where the manifest that it names is asked for."""
    answers = {"/v2/image/manifests/latest": index, f"/v2/image/manifests/{sha256(named)}": chosen}

    def behaviour(handler: Handler) -> bool:
        if handler.path not in answers:
            return False
        handler.answer(200, answers[handler.path])
        return True

    return behaviour


async def test_the_manifest_that_an_index_names_is_taken(tmp_path):
    with serving(serving_index(index_of(MANIFEST), MANIFEST)) as served:
        image = await pull(served, tmp_path)
    assert (image.rootfs / "f").stat().st_size == 100_000


async def test_another_manifest_than_the_index_names_is_refused(tmp_path):
    # An image that is whole in itself.
    other = MANIFEST.replace(b'"schemaVersion": 2', b'"schemaVersion":  2')
    with serving(serving_index(index_of(MANIFEST), other)) as served:
        with pytest.raises(InvalidArgumentError, match="a document has the digest"):
            await pull(served, tmp_path)
        assert not any(path == LAYER_PATH for path, _ in served.asked)


async def test_a_manifest_of_another_size_than_the_index_says_is_refused(tmp_path):
    index = index_of(MANIFEST, size=len(MANIFEST) + 1)
    with (
        serving(serving_index(index, MANIFEST)) as served,
        pytest.raises(InvalidArgumentError, match="a document has the digest"),
    ):
        await pull(served, tmp_path)


async def test_another_index_than_an_index_names_is_refused(tmp_path):
    inner = index_of(MANIFEST)
    other = inner.replace(b'"schemaVersion": 2', b'"schemaVersion":  2')
    with (
        serving(serving_index(index_of(inner), other, inner)) as served,
        pytest.raises(InvalidArgumentError, match="a document has the digest"),
    ):
        await pull(served, tmp_path)


async def test_another_configuration_than_the_manifest_names_is_refused(tmp_path):
    path = f"/v2/image/blobs/{sha256(CONFIGURATION)}"
    other = CONFIGURATION.replace(b'"os": "linux"', b'"os":  "linux"')

    def behaviour(handler: Handler) -> bool:
        if handler.path != path:
            return False
        handler.answer(200, other)
        return True

    with serving(behaviour) as served, pytest.raises(InvalidArgumentError, match="digest"):
        await pull(served, tmp_path)
