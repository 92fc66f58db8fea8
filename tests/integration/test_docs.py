"""Every code block of the documentation runs."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pages
import pytest
from pages import Block, Page

from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

Need = Callable[[str, str | None], None]

BLOCKS = [block for page in pages.pages() for block in pages.blocks(page)]
RUN = [block for block in BLOCKS if block.kind != "json" and not block.not_run]

NOT_RUN = {
    "it changes the machine; test_unit.py checks the unit",
    "it needs a base from a registry on the Internet; test_image.py builds it on one of its own",
    "it needs a registry on the Internet; test_registry.py pulls from one of its own",
    "it needs a service on the Internet; test_secrets.py asks servers of its own",
    "it needs an account with E2B",
    "it needs the Internet; test_packages_by_policy.py installs from an index of its own",
    "it needs the image; test_image.py runs it in these three ways",
    "it needs the systemd of a user's session",
    "the tests install the package that they have built, in test_newcomer.py",
}
"""Why blocks are not run: one each, so that another one is a decision."""

PROGRAMS = {
    "how-to/images.md": ("docker", "busybox", "busybox-static"),
    "how-to/packages.md": ("curl", "curl", "curl"),
    "how-to/ports.md": ("curl", "curl", "curl"),
    "how-to/tls-and-keys.md": ("nginx", "nginx", "nginx"),
    "how-to/proxy.md": ("nginx", "nginx", "nginx"),
}
"""What pages need that a host may lack: the engine that names it, the program and Debian's package."""


def test_a_block_is_python_a_command_or_a_configuration():
    assert {block.kind for block in BLOCKS} == {"python", "sh", "json"}
    # Configurations of others, with which test_mcp_page.py starts what they are for.
    assert {block.page for block in BLOCKS if block.kind == "json"} == {"how-to/mcp.md"}


def test_remarks_are_known():
    remarks = {block.remark for block in RUN}
    assert remarks <= {"", "in the background"}, remarks


def test_few_blocks_are_not_run_and_each_has_its_reason():
    assert sorted(block.not_run for block in BLOCKS if block.not_run) == sorted(NOT_RUN)
    assert len(RUN) > 9 * len(NOT_RUN)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.not_run], ids=lambda block: block.page)
def test_what_is_not_run_is_at_least_well_formed(block: Block) -> None:
    if block.kind == "python":
        ast.parse(block.text)


@pytest.mark.parametrize("name", sorted({block.page for block in RUN}))
def test_a_page_runs(
    name: str,
    tmp_path: Path,
    need: Need,
    limits: Limits,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name in PROGRAMS:
        engine, program, package = PROGRAMS[name]
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
        need(engine, None if found else f"there is no {program} (on Debian: apt-get install {package})")
    ports, environment = {}, {"PAGE_LIMITS": limits, "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    wanted = [block for block in RUN if block.page == name]
    if "docker" in name:
        environment["DOCKER_HOST"] = request.getfixturevalue("docker_engine").host
    with ExitStack() as stack:
        if not any(block.in_background and "serve" in block.text for block in wanted):
            # Of its own: what it prints of all sandboxes is of those that it starts.
            monkeypatch.setenv("DOCKER_HOST", environment["DOCKER_HOST"])
            running = stack.enter_context(
                running_orchestrator(limits="best-effort" if "docker" in name else limits)
            )
            ports = {"8080": running.http_address, "50051": running.grpc_address}
            ports = {said: address.rpartition(":")[2] for said, address in ports.items()}
        page = stack.enter_context(Page(tmp_path, ports, environment, in_a_loop="notebook" in name))
        for block in wanted:
            printed = page.run(block)
            if block.prints is not None:
                assert pages.matches(printed, block.prints), f"docs/{name}:{block.line} prints:\n{printed}"
