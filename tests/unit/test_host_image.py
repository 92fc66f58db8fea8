"""What image ``host`` shows of a host's /etc, and what it does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_sandbox.orchestrator.images.host_image import make_host_image

Shown = Callable[[], Path]


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """The /etc of a host; what a test puts there everybody may read."""
    (tmp_path / "etc").mkdir(mode=0o755)
    return tmp_path / "etc"


@pytest.fixture
def shown(etc: Path, tmp_path: Path) -> Shown:
    """Make the image and return its /etc."""

    def make() -> Path:
        make_host_image(tmp_path / "image", etc)
        return tmp_path / "image" / "etc"

    return make


def put(etc: Path, name: str, mode: int = 0o644) -> Path:
    path = etc / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"content of {name}")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "name", ["services", "fonts/conf.d/a.conf", "java-17-openjdk/security/java.security", "ssl/certs/0123.0"]
)
def test_a_harmless_file_is_shown(etc, shown, name):
    put(etc, name)
    assert (shown() / name).read_text() == f"content of {name}"


@pytest.mark.parametrize("name", ["services", "fonts/conf.d/a.conf", "ssl/certs/java/cacerts"])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_a_file_that_not_everybody_may_read_is_not_shown(etc, shown, name, mode):
    put(etc, name, mode)
    assert not os.path.lexists(shown() / name)


@pytest.mark.parametrize("name", ["fonts/conf.d/a.conf", "ssl/certs/0123.0"])
def test_nothing_below_a_directory_that_is_closed_to_others_is_shown(etc, shown, name):
    put(etc, name).parent.parent.chmod(0o750)
    assert not os.path.lexists(shown() / name)


@pytest.mark.parametrize(
    "name",
    ["machine-id", "npmrc", "pip.conf", "gitconfig", "wgetrc", "environment", "ssh/ssh_config",
     "profile.d/proxy.sh", "apt/auth.conf", "ssl/private/key.pem", "ssl/certs/ssl-cert-snakeoil.pem"],
)  # fmt: skip
def test_what_may_tell_of_the_host_or_hold_a_key_is_not_shown(etc, shown, name):
    put(etc, name)
    assert not os.path.lexists(shown() / name)


@pytest.mark.parametrize(
    ("name", "link"),
    [("alternatives/java", "/usr/lib/jvm/bin/java"), ("os-release", "../usr/lib/os-release"),
     ("ssl/certs/a.0", "../../ca-certificates/a.crt")],
)  # fmt: skip
def test_a_link_to_a_program_or_to_what_may_be_shown_stays_one(etc, shown, name, link):
    (etc / name).parent.mkdir(parents=True, exist_ok=True)
    (etc / name).symlink_to(link)
    assert os.readlink(shown() / name) == link


@pytest.mark.parametrize("link", ["/home/somebody/jdk/bin/java", "../../root/java", "/usr/../srv/java"])
def test_a_link_to_elsewhere_is_not_shown(etc, shown, link):
    (etc / "alternatives").mkdir()
    (etc / "alternatives/java").symlink_to(link)
    assert not os.path.lexists(shown() / "alternatives/java")


def test_what_is_no_file_is_not_waited_for(etc, shown):
    os.mkfifo(etc / "services", 0o644)
    assert not os.path.lexists(shown() / "services")


def test_modes_do_not_depend_on_the_umask(etc, shown):
    put(etc, "fonts/fonts.conf")
    before = os.umask(0o077)
    try:
        image = shown()
    finally:
        os.umask(before)
    modes = {
        name: (image / name).stat().st_mode & 0o7777
        for name in ("..", ".", "fonts", "fonts/fonts.conf", "hosts")
    }
    assert modes == {"..": 0o755, ".": 0o755, "fonts": 0o755, "fonts/fonts.conf": 0o644, "hosts": 0o644}


def test_users_are_the_sandboxs_own_and_none_has_a_password(etc, shown):
    for name in ("passwd", "group", "shadow", "gshadow", "subuid"):
        put(etc, name)
    image = shown()
    assert (image / "passwd").read_text().startswith("root:x:0:0:")
    assert {line.split(":")[1] for line in (image / "shadow").read_text().splitlines()} == {"*"}
    assert (image / "subuid").read_text() == ""
