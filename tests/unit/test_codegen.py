"""What the generator promises: up-to-date output, drift that is named, specs that agree, errors that help."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from codegen import __main__ as cli
from codegen import calls, facade, layers, models, openapi, parity, protobuf, tools, tree, wire
from codegen.docstrings import raised
from codegen.vocabulary import SpecError
from flash_sandbox import errors
from flash_sandbox.errors import SandboxError

ROOT = Path(__file__).resolve().parents[2]

Edit = Callable[[str, str, str], Path]


@pytest.fixture
def edit(tmp_path: Path) -> Edit:
    """Return a function that replaces a piece of text in a copy of the specs and returns the copy's root."""
    shutil.copytree(ROOT / "specs", tmp_path / "specs")

    def replace(name: str, old: str, new: str) -> Path:
        path = tmp_path / "specs" / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return tmp_path

    return replace


def line_of(root: Path, name: str, text: str) -> str:
    lines = (root / "specs" / name).read_text(encoding="utf-8").splitlines()
    return f"specs/{name}:{next(number for number, line in enumerate(lines, 1) if text in line)}"


def mismatches(root: Path) -> str:
    return "\n".join(parity.mismatches(openapi.load(root), protobuf.load(root)))


def violations(root: Path) -> str:
    return "\n".join(wire.violations(openapi.load(root), protobuf.load(root)))


# Drift


def test_check_passes_from_another_directory_with_foreign_formatter_settings(tmp_path: Path) -> None:
    (tmp_path / "ruff.toml").write_text("line-length = 40\n")
    (tmp_path / "ruff").mkdir()
    (tmp_path / "ruff" / "ruff.toml").write_text("line-length = 40\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "codegen", "--check"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """Return how `--check` ends and what it says: one file is changed, one is lost, one is too many."""
    root = tmp_path_factory.mktemp("drifted")
    for name in ("specs", "generated", "flash_sandbox", "guest"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    changed = root / layers.HTTP / "models" / "error.py"
    changed.write_text(changed.read_text().replace("retryable: bool", "retryable: int", 1))
    (root / layers.GRPC / "message_pool.py").unlink()
    (root / layers.HTTP / "models" / "stale.py").touch()
    (root / layers.HTTP / "__pycache__").mkdir()
    (root / layers.HTTP / "__pycache__" / "ignored.pyc").touch()
    done = subprocess.run(
        [sys.executable, "-m", "codegen", "--check", "--root", str(root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_check_fails_on_drift(drifted: tuple[int, str]) -> None:
    assert drifted[0] == 1


def test_check_shows_what_changed_in_a_file(drifted: tuple[int, str]) -> None:
    assert "generated/flash_sandbox_http/models/error.py: differs" in drifted[1]
    assert re.search(r"^ +-    retryable: int$", drifted[1], re.MULTILINE)


def test_check_names_a_missing_file(drifted: tuple[int, str]) -> None:
    assert "generated/flash_sandbox_grpc/message_pool.py: missing" in drifted[1]


def test_check_names_a_file_that_nothing_generates(drifted: tuple[int, str]) -> None:
    assert "generated/flash_sandbox_http/models/stale.py: not generated" in drifted[1]


def test_check_names_nothing_else(drifted: tuple[int, str]) -> None:
    assert len(re.findall(r"^codegen: \S+: ", drifted[1], re.MULTILINE)) == 3


def test_generating_removes_what_is_no_longer_generated(tmp_path: Path) -> None:
    folder = Path("generated/layer")
    stale = tmp_path / folder / "old" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    files = {folder / "new.py": b"x = 1\n"}
    tree.write(tmp_path, files, [folder])
    assert [path.name for path in tmp_path.rglob("*.py")] == ["new.py"]


def test_a_failed_generation_leaves_the_old_files(edit: Edit) -> None:
    root = edit("sandbox.proto", "message StopResponse {}", "message StopResponse {")
    old = root / layers.GRPC / "old.py"
    old.parent.mkdir(parents=True)
    old.touch()
    assert cli.main(["--root", str(root)]) == 1
    assert old.is_file()


# Tools


def test_pins_are_those_of_the_development_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    exact = dict(item.split("==") for item in project["optional-dependencies"]["dev"] if "==" in item)
    assert {name: exact.get(name) for name in tools.PINS} == tools.PINS


def test_a_missing_tool_is_refused_with_the_command_that_installs_it() -> None:
    with pytest.raises(tools.ToolError) as caught:
        tools.check_tools({"no-such-generator": "1.2.3"})
    assert "needs no-such-generator==1.2.3: it is not installed" in str(caught.value)
    assert f"{sys.executable} -m pip install no-such-generator==1.2.3" in str(caught.value)


def test_a_tool_of_another_version_stops_the_generator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tools.PINS["ruff"]
    monkeypatch.setitem(tools.PINS, "ruff", "0.0.1")
    assert cli.main(["--check"]) == 1
    assert f"needs ruff==0.0.1: version {found} is installed" in capsys.readouterr().err


def test_missing_tools_are_named_before_anything_needs_them() -> None:
    done = subprocess.run(
        # -S: without the installed packages.
        [sys.executable, "-S", "-m", "codegen"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"needs ruff=={tools.PINS['ruff']}: it is not installed" in done.stderr


def test_a_warning_of_the_http_generator_is_an_error(edit: Edit) -> None:
    root = edit("openapi.yaml", "application/json:", "application/x-unknown:")
    with pytest.raises(tools.ToolError, match="x-unknown"):
        layers.http_layer(root)


def test_a_warning_of_protoc_is_an_error(edit: Edit) -> None:
    root = edit("sandbox.proto", "package sandbox;", 'package sandbox;\nimport "google/protobuf/any.proto";')
    with pytest.raises(tools.ToolError, match="unused"):
        layers.grpc_layer(root)


# Parity of the two specs


def test_a_type_that_differs_is_named_with_both_places(edit: Edit) -> None:
    root = edit("sandbox.proto", "int64 memory_mb = 4;", "int32 memory_mb = 4;")
    there, here = line_of(root, "openapi.yaml", "memory_mb:"), line_of(root, "sandbox.proto", "memory_mb")
    assert f"field StartRequest.memory_mb: is int64 at {there} but int32 at {here}" in mismatches(root)


@pytest.mark.parametrize(
    ("method", "request_type", "answer_type", "there", "here"),
    [
        ("ExecStream", "ExecStreamRequest", "ExecFrame", "response", "nothing"),
        ("UploadArchive", "UploadArchiveRequest", "UploadArchiveResponse", "request", "nothing"),
        ("GetStatus", "StatusRequest", "stream StatusResponse", "nothing", "response"),
        ("StopSandbox", "stream StopRequest", "StopResponse", "nothing", "request"),
        ("DownloadArchive", "stream DownloadArchiveRequest", "DownloadArchiveChunk", "response", "request"),
    ],
)
def test_an_operation_that_streams_in_another_direction_is_named_with_both_places(
    edit: Edit, method: str, request_type: str, answer_type: str, there: str, here: str
) -> None:
    proto = (ROOT / "specs" / "sandbox.proto").read_text()
    (old,) = re.findall(rf"rpc {method}\(.*;", proto)
    root = edit("sandbox.proto", old, f"rpc {method}({request_type}) returns ({answer_type});")
    (found,) = [line for line in mismatches(root).splitlines() if ": streams " in line]
    assert re.search(rf": streams {there} at specs/openapi\.yaml:\d+ but {here} at ", found)
    assert found.endswith(line_of(root, "sandbox.proto", f"rpc {method}("))


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        (
            "sandbox.proto",
            "Return the state",
            "Say the state",
            "operation get_status: reads 'Return the state",
        ),
        ("sandbox.proto", "// Cause of the failure in words.", "", "field Error.detail: reads 'Cause"),
        ("sandbox.proto", "// What every failed call answers", "// All errors", "message Error: reads"),
        ("sandbox.proto", "// Start, use and stop", "// Use", "service sandbox.SandboxService: reads"),
        ("sandbox.proto", "string status = 2", "string state = 2", "field StatusResponse.status: described"),
        ("sandbox.proto", "string status = 2", "string state = 2", "field StatusResponse.state: described"),
        ("sandbox.proto", "string status = 2", "optional string status = 2", "but optional string at"),
        (
            "sandbox.proto",
            "repeated string command = 2",
            "string command = 2",
            "ExecRequest.command: is repeated",
        ),
        ("sandbox.proto", "rpc GetStatus(", "rpc ReadStatus(", "operation get_status: described"),
        ("sandbox.proto", "rpc GetStatus(", "rpc ReadStatus(", "operation read_status: described"),
        ("sandbox.proto", "message Error {", "message Failure {", "message Error: described"),
        (
            "sandbox.proto",
            "returns (StatusResponse)",
            "returns (StartResponse)",
            "response of get_status: is",
        ),
        ("openapi.yaml", "required: [id, status]", "required: [id]", "status: is not always there at"),
        (
            "openapi.yaml",
            "size_bytes, created_at, id",
            "size_bytes, id",
            "SnapshotInfo.created_at: is not always",
        ),
        ("openapi.yaml", "request_id, retryable]", "request_id]", "Error.retryable: is not always there"),
        (
            "openapi.yaml",
            "exit_code:\n          type: integer\n          format: int32",
            "exit_code:\n          type: integer\n          format: int64",
            "ExecResponse.exit_code: is int64",
        ),
        (
            "openapi.yaml",
            "description: ID of the sandbox.",
            "description: A name.",
            "field StatusRequest.id:",
        ),
        ("openapi.yaml", "operationId: get_health", "operationId: ping", "operation ping: described"),
    ],
)
def test_a_disagreement_of_the_specs_is_named(
    edit: Edit, name: str, old: str, new: str, expected: str
) -> None:
    assert expected in mismatches(edit(name, old, new))


def test_values_of_an_enum_that_differ_are_named(edit: Edit) -> None:
    edit(
        "openapi.yaml",
        "        status:\n          type: string\n",
        "        status:\n          type: string\n          enum: [running, lost]\n",
    )
    edit("sandbox.proto", "string status = 2", "State status = 2")
    enum = "enum State {\n  STATE_UNSPECIFIED = 0;\n  STATE_RUNNING = 1;\n}\n\nmessage StartRequest {"
    root = edit("sandbox.proto", "message StartRequest {", enum)
    assert "field StatusResponse.status: is enum(running, lost) at" in mismatches(root)


def test_white_space_does_not_make_a_disagreement(edit: Edit) -> None:
    root = edit(
        "sandbox.proto", "  // Return the state of a sandbox:", "  // Return the state\n  //   of a sandbox:"
    )
    assert mismatches(root) == ""


# Frozen facts


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("sandbox.proto", "package sandbox;", "package boxes;", "frozen service sandbox.SandboxService"),
        (
            "sandbox.proto",
            "double cpu_cores = 5",
            "float cpu_cores = 5",
            "frozen field StartRequest.cpu_cores = 5",
        ),
        ("sandbox.proto", "string stderr = 2", "string errors = 2", "frozen field ExecResponse.stderr = 2"),
        ("sandbox.proto", "string stderr = 2", "string stderr = 199", "frozen field ExecResponse.stderr = 2"),
        ("sandbox.proto", "reserved 10 to 12;", "reserved 10, 11;", "frozen field StartRequest.gpu = 12"),
        (
            "sandbox.proto",
            "reserved 10 to 12;",
            "int64 x = 10; reserved 11, 12;",
            "StartRequest.template = 10",
        ),
        (
            "sandbox.proto",
            "uint64 stdout_dropped = 100",
            "uint64 stdout_dropped = 4",
            "stdout_dropped has the number 4",
        ),
        ("sandbox.proto", "rpc StopSandbox(", "rpc EndSandbox(", "frozen method StopSandbox: missing"),
        (
            "sandbox.proto",
            "returns (StopResponse)",
            "returns (ResumeResponse)",
            "frozen method StopSandbox (Stop",
        ),
        (
            "sandbox.proto",
            "returns (StopResponse)",
            "returns (stream StopResponse)",
            "is streaming StopRequest",
        ),
        ("openapi.yaml", "/sandboxes/{id}/exec:", "/sandboxes/{id}/run:", "frozen call exec_command (POST"),
        ("openapi.yaml", "    delete:", "    put:", "frozen call stop_sandbox (DELETE"),
        ("openapi.yaml", "operationId: get_metrics", "operationId: metrics", "frozen call get_metrics"),
        (
            "openapi.yaml",
            "        cpu_cores:",
            "        cores:",
            "frozen field StartRequest.cpu_cores (double)",
        ),
        (
            "openapi.yaml",
            "exit_code:\n          type: integer\n          format: int32",
            "exit_code:\n          type: integer\n          format: int64",
            "frozen field ExecResponse.exit_code (int32)",
        ),
    ],
)
def test_a_broken_frozen_fact_is_named(edit: Edit, name: str, old: str, new: str, expected: str) -> None:
    assert expected in violations(edit(name, old, new))


def test_a_field_that_published_clients_do_not_send_may_not_be_required(edit: Edit) -> None:
    own = "required: [command, mode]\n      properties:\n        mode: {type: string}\n"
    root = edit("openapi.yaml", "required: [command]\n      properties:\n", own)
    assert "frozen call exec_command: requires mode" in violations(root)


def test_a_published_field_may_take_its_reserved_number(edit: Edit) -> None:
    root = edit("sandbox.proto", "reserved 3;", "bool non_interactive = 3;")
    assert violations(root) == ""


def test_check_fails_on_a_broken_frozen_fact(edit: Edit, capsys: pytest.CaptureFixture[str]) -> None:
    root = edit("sandbox.proto", "string mem_file_path = 9", "string mem_file_path = 199")
    for name in ("generated", "flash_sandbox"):
        (root / name).symlink_to(ROOT / name)
    assert cli.main(["--check", "--root", str(root)]) == 1
    assert "codegen: frozen field StartRequest.mem_file_path = 9 (string): missing" in capsys.readouterr().err


# What the facade takes from the specs


def tables(root: Path) -> dict[Path, str]:
    (root / "flash_sandbox").symlink_to(ROOT / "flash_sandbox")
    return {path: text.decode() for path, text in facade.tables(root).items()}


def model(root: Path, name: str) -> str:
    """Return the source of a model as it is generated from the specs under `root`."""
    _, found = re.split(rf"^class {name}\b", tables(root)[models.MESSAGES], flags=re.MULTILINE)
    return found.partition("\n\n\n")[0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "operationId: pause_sandbox",
            "operationId: pause_sandbox\n      x-idempotent: true",
            "repeatable=True",
        ),
        (
            "operationId: pause_sandbox",
            "operationId: pause_sandbox\n      x-idempotency-key: true",
            "keyed=True",
        ),
        (
            "operationId: pause_sandbox",
            "operationId: pause_sandbox\n      x-last: [a, b]",
            'frozenset({"a", "b"})',
        ),
    ],
)
def test_what_a_spec_says_of_an_operation_is_in_its_row(
    edit: Edit, old: str, new: str, expected: str
) -> None:
    table = tables(edit("openapi.yaml", old, new))[facade.OPERATIONS]
    row = table.partition("PAUSE_SANDBOX: Final = ")[2].partition("Final")[0]
    assert expected in row


def test_a_value_that_a_spec_adds_to_a_word_is_in_its_type(edit: Edit) -> None:
    root = edit("openapi.yaml", "values: [none, policy,", "values: [none, mesh, policy,")
    generated = tables(root)
    assert (
        'NetworkMode: TypeAlias = Literal["none", "mesh", "policy", "bridge", "open"]'
        in generated[facade.WORDS]
    )
    assert 'NETWORKS: Final = ("none", "mesh", "policy", "bridge", "open")' in generated[models.LIMITS]


@pytest.mark.parametrize(
    ("old", "new", "name", "expected"),
    [
        ("Number of the signal, 1 to 64.", "Its number.", "SignalProcessRequest", "signal: Its number."),
        ("maximum: 4194304", "maximum: 99", "StartRequest", 'integer("pids", self.pids, (0, 99), least=16)'),
        ("x-max-bytes: 8388608", "x-max-bytes: 7", "ExecRequest", 'content("stdin", self.stdin, 7)'),
        ("x-least: 16\n", "x-least: 9\n", "StartRequest", "least=9)"),
        ("exclusiveMinimum: 0", "exclusiveMinimum: 2", "KeepAliveRequest", "self.ttl_seconds, 2, 316224000)"),
        ("x-word: FileType", "x-word: FrameType", "FileInfo", 'type: FrameType | Literal[""] = ""'),
        ("required: [signal]", "required: []", "SignalProcessRequest", "signal: int = 0"),
    ],
)
def test_what_a_spec_says_of_a_field_is_in_its_model(
    edit: Edit, old: str, new: str, name: str, expected: str
) -> None:
    assert expected in model(edit("openapi.yaml", old, new), name)


def test_a_field_that_both_specs_add_is_an_attribute_that_is_described_and_checked(edit: Edit) -> None:
    edit("sandbox.proto", "  bool end = 4;", "  bool end = 4;\n  // Why it ends.\n  string why = 5;")
    added = '        why: {type: string, default: "", description: Why it ends.}\n    ResizeProcessRequest:'
    found = model(edit("openapi.yaml", "    ResizeProcessRequest:", added), "WriteStdinRequest")
    assert "        why: Why it ends.\n" in found
    assert '    why: str = ""\n' in found
    assert 'argument("why", self.why)' in found


# The clients' calls


def call(root: Path, name: str) -> str:
    """Return the source of a method that is generated."""
    for folder in (calls.SOURCE, models.PACKAGE.parent):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = "".join(calls.derive(root).values())
    return text.partition(f"    async def {name}(")[2].partition("\n    async def ")[0]


@pytest.mark.parametrize(
    ("old", "new", "name", "expected"),
    [
        ("x-default: TERM", "x-default: KILL", "signal_process", 'signal: int | str = "KILL",\n        *,'),
        (
            "x-argument: ttl\n          exclusiveMinimum: 0",
            "x-argument: life\n          exclusiveMinimum: 0",
            "keep_alive",
            "request = models.KeepAliveRequest(id=sandbox_id, ttl_seconds=life)",
        ),
        (
            "x-returns: status",
            "x-returns: id",
            "get_status",
            "(operations.GET_STATUS, request, timeout)).id\n",
        ),
        ("x-list: true", "x-list: false", "get_metrics_history", "-> tuple[MetricsPoint, ...]:"),
        ("0 is octal 755", "0 is octal 700", "make_dir", "mode: int = 0o700,"),
        (
            "1 to 1000. 0 is 100.",
            "1 to 1000. 0 is 10.",
            "list_sandboxes",
            "page_size=0 if page_size == 10 else page_size,",
        ),
        (
            "x-returns: Frames",
            "x-returns: Events",
            "follow_process",
            "return AsyncEvents(pieces, await first_of(pieces))",
        ),
        (
            "x-opposite: {name: follow,",
            "x-opposite: {name: waiting,",
            "follow_process",
            "no_follow=not waiting",
        ),
        (
            "AtCapacityError: The",
            "AtCapacityError: An",
            "fork_sandbox",
            "            AtCapacityError: An orchestrator takes",
        ),
        (
            "4194304. 0 is the snapshot's",
            "4194304. 0 is the host's",
            "start_sandbox",
            "4194304. None is the host's, or 512.\n",
        ),
        (
            "False ends the processes",
            "False ends the program",
            "stop_sandbox",
            "            cleanup: False ends the program of",
        ),
        ("Let a paused sandbox run on.", "Resume a sandbox.", "resume_sandbox", '"""Resume a sandbox.\n'),
    ],
)
def test_what_a_spec_says_of_a_call_is_in_its_method(
    edit: Edit, old: str, new: str, name: str, expected: str
) -> None:
    assert expected in call(edit("openapi.yaml", old, new), name)


def test_errors_that_a_spec_names_are_classes() -> None:
    named = {name for one in openapi.load(ROOT).operations.values() if one.route for name in raised(one)}
    assert {name for name in named if not issubclass(getattr(errors, name, object), SandboxError)} == set()


def test_a_stream_that_no_class_has_is_refused_with_its_place(edit: Edit) -> None:
    root = edit(
        "sandbox.proto",
        "rpc GetInfo(GetInfoRequest) returns (",
        "rpc GetInfo(GetInfoRequest) returns (stream ",
    )
    with pytest.raises(
        SpecError, match=rf"{line_of(root, 'sandbox.proto', 'rpc GetInfo')}: get_info streams"
    ):
        call(root, "get_info")


# What a spec may not say


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('        default: {$ref: "#/components/responses/Error"}\n', "", "has no default answer"),
        ("schemas/Error", "schemas/StartResponse", "answer default must have the schema Error"),
        ("schemas/StartRequest", "schemas/Nothing", "leads nowhere"),
        ("schemas/StartRequest", "../schemas/StartRequest", "leads nowhere"),
        ("#/components/schemas/StartRequest", "other.yaml", "leaves the document"),
        (
            'default: ""\n          x-word: StartType',
            "default: auto\n          x-word: StartType",
            "default of type must be the zero value",
        ),
        ("required: [command]", "required: [command, shell]", "requires shell"),
        ("format: int32", "format: int31", "no rule for type 'integer' with format 'int31'"),
        (
            "        detail: {type: string",
            "        reason: {}\n        detail: {type: string",
            "reason is given twice",
        ),
        ("operationId: stop_sandbox", "operationId: [", "is not YAML"),
    ],
)
def test_a_spec_without_a_rule_is_refused_with_its_place(
    edit: Edit, old: str, new: str, expected: str
) -> None:
    with pytest.raises(SpecError, match=re.escape(expected)):
        openapi.load(edit("openapi.yaml", old, new))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("x-word: StartType", "x-word: Engine", "x-words has no Engine"),
        ('pattern: "^(/|$)"', 'pattern: "^x"', "no check for the pattern ^x"),
        (
            "        signal:\n          type: integer",
            "        signal:\n          type: [integer, 'null']",
            "optional",
        ),
        ("required: [path, content]", "required: [content]", "content is required, but comes after"),
    ],
)
def test_a_field_without_a_rule_for_models_is_refused_with_its_place(
    edit: Edit, old: str, new: str, expected: str
) -> None:
    with pytest.raises(SpecError, match=re.escape(expected)) as caught:
        tables(edit("openapi.yaml", old, new))
    assert re.match(r"specs/(openapi.yaml|sandbox.proto):\d+: ", str(caught.value))


def test_a_behaviour_of_no_message_is_refused(edit: Edit) -> None:
    root = edit("sandbox.proto", "message GetLogsResponse", "message GetOutputResponse")
    edit("sandbox.proto", "returns (GetLogsResponse)", "returns (GetOutputResponse)")
    with pytest.raises(SpecError, match="GetLogsResultBehaviour is of no message"):
        tables(root)
