"""What names of images mean, what documents say of them, and which login is used."""

from __future__ import annotations

import base64
import json
import platform

import pytest

from flash_sandbox import InvalidArgumentError
from flash_sandbox.orchestrator.images.credentials import AUTH_VARIABLE, Credentials, Login
from flash_sandbox.orchestrator.images.manifests import (
    Descriptor,
    Manifest,
    chain_id,
    parse_configuration,
    parse_manifest,
)
from flash_sandbox.orchestrator.images.references import Kind, Reference, is_same_image, parse_source

D = "sha256:" + "0123456789abcdef" * 4
E = "sha256:" + "f" * 64


# References


@pytest.mark.parametrize(
    ("text", "full", "api"),
    [
        ("alpine", "docker.io/library/alpine:latest", "https://registry-1.docker.io/v2/library/alpine"),
        ("alpine:3", "docker.io/library/alpine:3", "https://registry-1.docker.io/v2/library/alpine"),
        ("team/app", "docker.io/team/app:latest", "https://registry-1.docker.io/v2/team/app"),
        (
            "docker.io/alpine",
            "docker.io/library/alpine:latest",
            "https://registry-1.docker.io/v2/library/alpine",
        ),
        (
            "index.docker.io/a/b:1",
            "docker.io/a/b:1",
            "https://registry-1.docker.io/v2/a/b",
        ),
        ("ghcr.io/a/b/c:1", "ghcr.io/a/b/c:1", "https://ghcr.io/v2/a/b/c"),
        ("example.com:443/a", "example.com:443/a:latest", "https://example.com:443/v2/a"),
        ("localhost/a", "localhost/a:latest", "http://localhost/v2/a"),
        ("localhost:5000/a", "localhost:5000/a:latest", "http://localhost:5000/v2/a"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "http://127.0.0.1:5000/v2/a"),
        ("127.1.2.3:5000/a", "127.1.2.3:5000/a:latest", "http://127.1.2.3:5000/v2/a"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "http://[::1]:5000/v2/a"),
        ("10.0.0.1:5000/a", "10.0.0.1:5000/a:latest", "https://10.0.0.1:5000/v2/a"),
        ("localhost.example.com/a", "localhost.example.com/a:latest", "https://localhost.example.com/v2/a"),
        ("Host/a", "Host/a:latest", "https://Host/v2/a"),
        (f"a@{D}", f"docker.io/library/a@{D}", "https://registry-1.docker.io/v2/library/a"),
        (f"a:1@{D}", f"docker.io/library/a:1@{D}", "https://registry-1.docker.io/v2/library/a"),
        ("a__b/c--d.e", "docker.io/a__b/c--d.e:latest", "https://registry-1.docker.io/v2/a__b/c--d.e"),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(text, full, api):
    reference = Reference.parse(text)
    assert (str(reference), reference.api) == (full, api)
    assert Reference.parse(full) == reference


@pytest.mark.parametrize(
    "text",
    [
        "Alpine",
        "a:",
        "a:-tag",
        "a:" + "t" * 129,
        "a@sha256:1234",
        f"a@sha512:{'0' * 128}",
        f"a@{D}@{E}",
        "a//b",
        "/a",
        "a/",
        "a b",
        "a/../b",
        "-a",
        "a..b/c..d",
        "user@host/a",
        "http://host/a",
        "host:123456/a",
        "host:port/a",
        "a/" + "b" * 255,
        "0" * 64,
        "a\n",
        "a?b",
        "a#b",
        "a%2fb",
        "ä",
    ],
)
def test_what_docker_refuses_is_refused(text):
    with pytest.raises(InvalidArgumentError) as caught:
        Reference.parse(text)
    assert caught.value.reason == "image_not_found"


@pytest.mark.parametrize(
    ("image", "kind", "path", "selector"),
    [
        ("", Kind.HOST, "", ""),
        ("host", Kind.HOST, "", ""),
        ("/a/b.tar", Kind.PATH, "/a/b.tar", ""),
        ("oci:/a/b", Kind.OCI, "/a/b", ""),
        ("oci:/a/b:tag", Kind.OCI, "/a/b", "tag"),
        ("docker-archive:/a.tar:b:1", Kind.DOCKER_ARCHIVE, "/a.tar", "b:1"),
        ("docker-daemon:alpine:3", Kind.DOCKER_DAEMON, "", "alpine:3"),
        (f"docker-daemon:{D}", Kind.DOCKER_DAEMON, "", D),
        ("docker://alpine", Kind.REGISTRY, "", ""),
        ("oci:latest", None, "", ""),
        ("docker-daemon:../x", None, "", ""),
    ],
)
def test_a_name_says_where_an_image_comes_from(image, kind, path, selector):
    if kind is None:
        with pytest.raises(InvalidArgumentError):
            parse_source(image)
        return
    source = parse_source(image)
    assert (source.kind, source.path, source.selector) == (kind, path, selector)


@pytest.mark.parametrize(
    ("image", "asked", "same"),
    [
        ("host", "host", True),
        ("host", "alpine", False),
        (f"docker.io/library/a:1@{D}", "a:1", True),
        (f"docker.io/library/a:1@{D}", f"a@{D}", True),
        (f"docker.io/library/a:1@{D}", f"a:1@{D}", True),
        (f"docker.io/library/a:1@{D}", f"a:1@{E}", False),
        (f"docker.io/library/a:1@{D}", "a:2", False),
        (f"docker.io/library/a:1@{D}", "b:1", False),
        ("/a", "/b", False),
    ],
)
def test_an_image_goes_by_its_tag_and_by_its_digest(image, asked, same):
    assert is_same_image(image, asked) is same


# Documents


def descriptor(digest: object = D, size: object = 5, **more: object) -> dict[str, object]:
    return {"digest": digest, "size": size, **more}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        descriptor("sha256:12"),
        descriptor("md5:" + "0" * 32),
        descriptor("sha256:" + "../" * 21 + "x"),
        descriptor(D.upper()),
        descriptor(size=-1),
        descriptor(size="5"),
        descriptor(size=True),
        descriptor(size=1.5),
    ],
)
def test_a_descriptor_that_proves_nothing_is_refused(value):
    with pytest.raises(InvalidArgumentError):
        Descriptor.parse(value)


def test_a_manifest_is_read():
    document = json.dumps({"config": descriptor(), "layers": [descriptor(E, 7)]}).encode()
    assert parse_manifest(document) == Manifest(Descriptor(D, 5), (Descriptor(E, 7),))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"not json",
        b"{}",
        b'{"schemaVersion": 1, "fsLayers": []}',
        json.dumps({"config": descriptor(), "layers": {}}).encode(),
        json.dumps({"config": descriptor(), "layers": [descriptor()] * 1025}).encode(),
        json.dumps({"manifests": []}).encode(),
        b"[" * 100_000,
    ],
)
def test_a_document_that_is_no_manifest_is_refused(document):
    with pytest.raises(InvalidArgumentError):
        parse_manifest(document)


def on(system: str, architecture: str, variant: str = "") -> dict[str, str]:
    described = {"os": system, "architecture": architecture}
    return described | ({"variant": variant} if variant else {})


@pytest.mark.parametrize(
    ("machine", "offered", "chosen"),
    [
        ("x86_64", [on("linux", "arm64"), on("linux", "amd64")], 1),
        ("x86_64", [on("windows", "amd64"), on("linux", "amd64")], 1),
        ("x86_64", [on("unknown", "unknown"), on("linux", "amd64")], 1),
        ("x86_64", [on("linux", "amd64", "v3"), on("linux", "amd64")], 1),
        ("x86_64", [on("linux", "amd64"), on("linux", "amd64")], 0),
        ("aarch64", [on("linux", "amd64"), on("linux", "arm64", "v8")], 1),
        ("aarch64", [on("linux", "arm", "v7"), on("linux", "arm64")], 1),
        ("armv7l", [on("linux", "arm", "v6"), on("linux", "arm", "v7")], 1),
    ],
)
def test_the_platform_of_this_host_is_chosen(monkeypatch, machine, offered, chosen):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    entries = [descriptor(size=number, platform=one) for number, one in enumerate(offered)]
    found = parse_manifest(json.dumps({"manifests": entries}).encode())
    assert found == Descriptor(D, chosen)


def test_an_index_with_nothing_for_this_host_says_what_it_has(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    entries = [descriptor(platform=on("linux", "arm64", "v8")), descriptor(platform=on("windows", "amd64"))]
    with pytest.raises(
        InvalidArgumentError, match="it is for linux/arm64/v8, windows/amd64, this host is linux/amd64"
    ):
        parse_manifest(json.dumps({"manifests": entries}).encode())


def configuration(**config: object) -> bytes:
    return json.dumps({"config": config, "rootfs": {"type": "layers", "diff_ids": [D]}}).encode()


@pytest.mark.parametrize(
    "config",
    [
        {"Env": "A=1"},
        {"Env": [1]},
        {"Cmd": ["a\0b"]},
        {"WorkingDir": ["/"]},
        {"Entrypoint": {"a": "b"}},
        {"Env": ["A=\0"]},
    ],
)
def test_a_configuration_that_the_kernel_could_not_be_given_is_refused(config):
    with pytest.raises(InvalidArgumentError):
        parse_configuration(configuration(**config))


def test_a_configuration_may_leave_out_everything():
    config, diff_ids = parse_configuration(configuration(Env=None, Cmd=None))
    assert (config.command, config.environment, config.working_dir, diff_ids) == ((), {}, "", (D,))


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ({}, ()),
        ({"Entrypoint": ["bash"]}, ("bash",)),
        ({"Cmd": ["sh", "-c", "serve"]}, ("sh", "-c", "serve")),
        ({"Entrypoint": ["/entry.sh"], "Cmd": ["node"]}, ("/entry.sh", "node")),
        ({"Cmd": ["/bin/server"]}, ("/bin/server",)),
    ],
)
def test_an_image_s_own_command_is_its_entry_point_and_what_follows(config, command):
    assert parse_configuration(configuration(**config))[0].command == command


def test_a_chain_goes_by_all_of_its_layers():
    # Of the image specification, config.md: ChainID(A|B) = Digest(ChainID(A) + " " + DiffID(B)).
    assert chain_id((D,)) == D
    assert chain_id((D, E)) == "sha256:e1154a313cf5983657db5e3195e4e1397433f9ea74015c26f3dfa1ac188b99cf"
    assert chain_id((D, E)) != chain_id((E, D))


# Logins


def encoded(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("registry", "auths", "found"),
    [
        ("ghcr.io", {"ghcr.io": encoded("u", "p")}, Login("u", "p")),
        ("ghcr.io", {"https://ghcr.io": encoded("u", "p:q")}, Login("u", "p:q")),
        ("ghcr.io", {"ghcr.io": {"username": "u", "password": "p"}}, Login("u", "p")),
        ("docker.io", {"https://index.docker.io/v1/": encoded("u", "p")}, Login("u", "p")),
        ("ghcr.io", {"https://index.docker.io/v1/": encoded("u", "p")}, None),
        ("ghcr.io", {"ghcr.io.example.com": encoded("u", "p")}, None),
        ("ghcr.io", {"ghcr.io": {}}, None),
        ("ghcr.io", {"ghcr.io": {"auth": "not base64"}}, None),
    ],
)
def test_a_login_is_for_its_registry_alone(monkeypatch, registry, auths, found):
    monkeypatch.setenv(AUTH_VARIABLE, json.dumps({"auths": auths}))
    assert Credentials().find(registry) == found


def test_the_variable_may_name_a_file(monkeypatch, tmp_path):
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {"r": encoded("u", "p")}}))
    monkeypatch.setenv(AUTH_VARIABLE, str(tmp_path / "auth.json"))
    assert Credentials().find("r") == Login("u", "p")


def test_what_cannot_be_read_is_named_and_not_quoted(monkeypatch):
    monkeypatch.setenv(AUTH_VARIABLE, '{"auths": secret')
    with pytest.raises(ValueError, match="is not a JSON document") as caught:
        Credentials().find("r")
    assert "secret" not in str(caught.value)


def test_a_login_does_not_show_its_password():
    assert "hidden" not in repr(Login("u", "hidden"))
