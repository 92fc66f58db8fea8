"""The documentation builds without a warning or a network, and says all that the code says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pages
import pytest

from docs.ext import PARTS, fill_in, operations, tables
from flash_sandbox import __all__ as PUBLIC
from flash_sandbox.errors import TABLE
from flash_sandbox.operations import OPERATIONS
from flash_sandbox.orchestrator.runtimes.catalogue import RUNTIME_NAMES, capabilities

# Proxies that are not there: what asks for anything outside of this machine fails.
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1")


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build as `make docs` does."""
    options = ["--builder", "html", "--fresh-env", "--nitpicky", "--fail-on-warning", "--quiet"]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
        cwd=pages.ROOT,
        env={"PATH": "/usr/bin:/bin", **NO_NETWORK},
        timeout=110,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("docs")
    done = build(pages.DOCS, target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return target


def test_make_docs_builds_as_this_test_does() -> None:
    recipe = (pages.ROOT / "Makefile").read_text()
    assert (
        "-m sphinx --builder html --fresh-env --nitpicky --fail-on-warning --quiet docs build/docs" in recipe
    )


def test_every_page_is_there(built: Path) -> None:
    assert [page for page in pages.pages() if not (built / page).with_suffix(".html").is_file()] == []


def test_every_public_name_is_in_the_reference(built: Path) -> None:
    reference = "".join(page.read_text(encoding="utf-8") for page in (built / "reference").glob("*.html"))
    missing = {name for name in PUBLIC if f'id="flash_sandbox.{name}"' not in reference}
    assert missing == {"__version__"}


def test_a_page_loads_nothing_from_elsewhere(built: Path) -> None:
    loaded = re.compile(
        r"""<(?:script|img|iframe)[^>]*\ssrc="([^"]*)"|<link[^>]*\shref="([^"]*)"|url\(([^)]*)\)"""
    )
    for file in [*built.rglob("*.html"), *built.rglob("*.css")]:
        found = ["".join(match) for match in loaded.findall(file.read_text(encoding="utf-8"))]
        assert [link for link in found if re.match(r"['\"]?(https?:)?//", link)] == [], file


def test_links_to_elsewhere_are_well_formed() -> None:
    for page in pages.pages():
        for link in re.findall(r"\]\((\w+:[^)]*)\)", (pages.DOCS / page).read_text()):
            parts = urlsplit(link)
            assert (parts.scheme, bool(parts.hostname)) == ("https", True), f"{page}: {link}"


@pytest.mark.parametrize(
    "wrong",
    ["[a page](nowhere.md)", "[a section](index.md#nowhere)", "{py:class}`~flash_sandbox.Nothing`"],
    ids=["page", "section", "class"],
)
def test_a_link_that_leads_nowhere_is_an_error(wrong: str, tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    shutil.copy(pages.DOCS / "conf.py", source)
    settings = source / "conf.py"
    settings.write_text(settings.read_text().replace("Path(__file__).parents[1]", repr(str(pages.ROOT))))
    (source / "index.md").write_text(f"# A page\n\nSee {wrong}.\n")
    assert build(source, tmp_path / "html").returncode != 0


def test_every_operation_has_a_section_with_its_path_its_rpc_and_all_of_its_fields() -> None:
    text = operations.reference()
    sections = {part.partition("\n")[0]: part for part in text.split("\n## ") if part}
    sections = {name.removeprefix("## "): part for name, part in sections.items()}
    for row in OPERATIONS:
        section = sections[row.name]
        assert f"/sandbox.SandboxService/{row.rpc}`" in section
        assert re.search(r"`(GET|PUT|POST|DELETE) /\S+`", section)
        assert f"{row.name}(" in section
        assert [name for name in row.request.__match_args__ if f"| `{name}` |" not in section] == []


def test_signatures_are_those_of_the_clients() -> None:
    text = operations.reference()
    assert "    type: StartType | Literal[''] | None = None,\n    image: str | None = None,\n" in text
    assert "    *,\n    timeout: float | NotGiven | None = NOT_GIVEN,\n) -> FileInfo\n" in text


def test_every_reason_is_in_the_table_of_errors() -> None:
    text = tables.errors()
    assert [row.reason for row in TABLE if f"| `{row.reason}` |" not in text] == []


def test_every_operation_says_whether_it_is_repeated() -> None:
    text = tables.repeats()
    assert [row.name for row in OPERATIONS if f"[`{row.name}`]" not in text] == []
    (exec_row,) = [line for line in text.splitlines() if "[`exec_command`]" in line]
    assert exec_row.split(" | ")[1:4] == ["yes", "no", "no"]


def test_what_each_runtime_can_do_is_in_the_reference() -> None:
    assert "<!-- generated: capabilities -->" in (pages.DOCS / "reference" / "runtimes.md").read_text()
    able = [capabilities()[name].rows() for name in RUNTIME_NAMES]
    lines = tables.capabilities().splitlines()
    for what in able[0]:
        assert "| " + " | ".join([what, *(each[what] for each in able)]) + " |" in lines


@pytest.mark.parametrize("name", ["nothing", "no-thing"])
def test_what_a_page_asks_for_must_be_known(name: str) -> None:
    with pytest.raises(KeyError):
        fill_in(f"<!-- generated: {name} -->")


@pytest.mark.parametrize("name", sorted(PARTS))
def test_every_part_is_filled_in(name: str) -> None:
    assert fill_in(f"before\n\n<!-- generated: {name} -->\n") == f"before\n\n{PARTS[name]()}\n"
