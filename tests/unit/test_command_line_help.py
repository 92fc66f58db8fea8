"""The help of every command, and what the command line works out by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from codegen import openapi
from flash_sandbox.cli import app
from flash_sandbox.command_line.connection import Connection, Failure, TransportChoice
from flash_sandbox.command_line.copy_command import _Place
from flash_sandbox.command_line.look_commands import _new_part
from flash_sandbox.command_line.names import _meant
from flash_sandbox.command_line.output import duration, payload, printable, size
from flash_sandbox.embedding import Endpoint, endpoint_at
from flash_sandbox.models import GetLogsResult, SandboxInfo

# An option whose name says such a thing is measured in that.
UNITS = {
    r"seconds|ttl|timeout|interval": "seconds",
    r"_age$": "hours",
    r"_mb$": "mib",
    r"gib": "gib",
    r"cores": "cores",
}
# What is not there unless it is given, as anybody knows.
WITHOUT_DEFAULT = {"api_key"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, each in below.items():
        yield from commands(each, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))
each_command = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def options(path: tuple[str, ...]) -> list[Any]:
    return [each for each in COMMANDS[path].params if each.name != "help"]


def test_the_verbs_are_those_that_are_promised() -> None:
    promised = "run start exec ps inspect logs stats top cp pause resume stop snapshot fork restore events"
    here = "network ports port-forward serve mcp doctor version"
    snapshots = {("snapshots", name) for name in ("ls", "rm", "export", "import")}
    below = snapshots | {("image", "ls"), ("image", "pull"), ("image", "rm")}
    below |= {("volume", "create"), ("volume", "ls"), ("volume", "rm")}
    hidden = {("ls",), ("create",), ("kill",), ("rm",)}
    assert COMMANDS.keys() == {(verb,) for verb in f"{promised} {here}".split()} | below | hidden


@each_command
def test_help_tells_units_and_defaults(path: tuple[str, ...]) -> None:
    done = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    rows = re.split(r"^│ (?=--)", done.output, flags=re.MULTILINE)
    for option in options(path):
        assert option.help, f"{option.name} has no help"
        assert option.help.endswith("."), option.help
        words = f"{option.help} {option.metavar or ''}".lower()
        for names, unit in UNITS.items():
            if re.search(names, option.name):
                assert unit in words, f"{option.name} does not tell its unit: {option.help}"
        takes_a_value = not getattr(option, "is_flag", False) and option.nargs != -1 and not option.required
        if takes_a_value and not getattr(option, "multiple", False) and option.name not in WITHOUT_DEFAULT:
            if option.opts[0].startswith("--"):
                (row,) = (row for row in rows if re.match(rf"{option.opts[0]}[, ]", row))
            else:
                row = rows[0]
            assert "[default: " in row, f"{option.name} does not tell its default"


FIELDS = openapi.load(Path(__file__).resolve().parents[2]).operations["start_sandbox"].request.fields
start_option = pytest.mark.parametrize(
    "option",
    [one for one in options(("start",)) if one.name in FIELDS and one.param_type_name == "option"],
    ids=lambda one: one.name,
)


@start_option
def test_an_option_that_is_a_field_is_described_as_both_specs_do(option: Any) -> None:
    assert FIELDS[option.name].doc.startswith(option.help.removesuffix(" May be repeated."))


@start_option
def test_what_a_spec_says_of_a_field_that_is_not_given_is_its_default(option: Any) -> None:
    said = FIELDS[option.name].doc.removeprefix(option.help).strip()
    if isinstance(option.show_default, str):
        assert said in (f"0 is {option.show_default}.", f"Empty is {option.show_default}.")
    else:
        assert not re.search(r"\b(0|Empty) is ", said)


def test_every_field_of_a_start_can_be_given() -> None:
    assert FIELDS.keys() - {one.name for one in options(("start",))} == set()


@each_command
def test_what_it_prints_can_be_json(path: tuple[str, ...]) -> None:
    if path == ("mcp",):
        # All that it prints is its protocol.
        return
    assert "--json" in [form for option in options(path) for form in option.opts]


@each_command
def test_what_speaks_with_an_orchestrator_can_be_told_which(path: tuple[str, ...]) -> None:
    if path[0] in ("image", "serve", "doctor", "version"):
        return
    given = {form for option in options(path) for form in option.opts}
    assert {"--transport", "--address", "--api-key"} <= given


class TestWhichSandbox:
    SANDBOXES = (
        SandboxInfo(id="aa11", name="first"),
        SandboxInfo(id="aa22", name="bb"),
        SandboxInfo(id="bb33"),
    )

    @pytest.mark.parametrize(
        ("reference", "found"),
        [("first", "aa11"), ("aa2", "aa22"), ("bb", "aa22"), ("bb3", "bb33"), ("c", None), ("11", None)],
    )
    def test_a_name_comes_first_and_then_the_only_beginning(self, reference: str, found: str | None) -> None:
        assert _meant(reference, self.SANDBOXES) == found

    def test_several_are_told(self) -> None:
        with pytest.raises(Failure, match=r"'aa' may be any of aa11 first, aa22 bb$"):
            _meant("aa", self.SANDBOXES)

    def test_of_many_the_first_ten_are(self) -> None:
        many = [SandboxInfo(id=f"a{number}") for number in range(12)]
        with pytest.raises(Failure, match=r"a9, \.\.\.$"):
            _meant("a", many)


class TestWhatIsNew:
    @pytest.mark.parametrize(
        ("before", "now", "new"),
        [
            ((b"abc", 0), (b"abcdef", 0), (b"def", 0)),
            ((b"abc", 0), (b"abc", 0), (b"", 0)),
            ((b"abc", 0), (b"cdef", 2), (b"def", 0)),
            ((b"abc", 0), (b"fgh", 5), (b"fgh", 2)),
            # What was dropped is not counted any more.
            ((b"one\ntwo\n", 100), (b"zero\none\ntwo\nthree\n", 0), (b"three\n", 0)),
            # The last line was given an end.
            ((b"one\ntw\n", 0), (b"one\ntwo\n", 0), (b"o\n", 0)),
            ((b"one\n", 0), (b"all else\n", 0), (b"all else\n", 0)),
        ],
    )
    def test_in_a_log_is_what_was_not_there(
        self, before: tuple[bytes, int], now: tuple[bytes, int], new: tuple[bytes, int]
    ) -> None:
        assert _new_part(GetLogsResult(*before), GetLogsResult(*now)) == GetLogsResult(*new)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä €", "plain ä €"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\r", r"a\nb\r"),
        ("\u202e", r"\u202e"),
        ("\x9b1m", r"\x9b1m"),
    ],
)
def test_nothing_that_is_shown_commands_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_numbers_have_units() -> None:
    assert [size(count) for count in (0, 1023, 1024, 1.5 * 1024**2, 5000 * 1024**3)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 MiB",
        "5000.0 GiB",
    ]
    assert [duration(seconds) for seconds in (-1, 0, 119, 120, 7199, 7200, 172800)] == [
        "0 s",
        "0 s",
        "119 s",
        "2 minutes",
        "119 minutes",
        "2 hours",
        "2 days",
    ]


def test_bytes_are_text_where_they_can_be() -> None:
    assert payload(b"\xc3\xa4") == {"data": "ä"}
    assert payload(b"\xc3") == {"data_base64": "ww=="}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("one:/tmp/x", _Place("one", "/tmp/x")),
        ("one:", _Place("one", "")),
        ("./one:/tmp/x", None),
        ("/tmp/x:y", None),
        (":/x", None),
        ("file", None),
    ],
)
def test_a_place_in_a_sandbox_is_told_from_a_path_here(text: str, place: _Place | None) -> None:
    assert _Place.parse(text) == place


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("host:1", Endpoint("http", "host:1")),
        ("https://host/prefix", Endpoint("http", "https://host/prefix")),
        ("unix:///x", Endpoint("http", "unix:///x")),
        ("grpc://host:1", Endpoint("grpc", "grpc://host:1")),
        ("GRPCS://host/p", Endpoint("grpc", "GRPCS://host/p")),
    ],
)
def test_an_address_tells_its_transport(address: str, endpoint: Endpoint) -> None:
    assert endpoint_at(address) == endpoint


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Endpoint("http", "host", "secret"))
    assert "secret" not in repr(Connection(TransportChoice.HTTP, "host", "secret"))
