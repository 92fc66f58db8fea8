"""Uses every public method of the synchronous half, for type checkers to read; it is never run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, assert_type

import httpx

import flash_sandbox as fs


def connect() -> None:
    assert_type(fs.connect(), fs.HTTPClient | fs.SandboxClient)
    with fs.connect("grpc://h:1", api_key="k", timeout=None, max_retries=0) as client:
        use_client(client)
    use_client(fs.HTTPClient("h", 1, None, 5, httpx.Client(), api_key="k", max_retries=1))
    use_client(fs.SandboxClient("h", 1, "grpcs://h:1", None, ssl=True, metadata={"a": "b"}))


def use_client(client: fs.SandboxAPI) -> None:
    with client.with_options(timeout=None, max_retries=1) as other:
        assert_type(other, fs.SandboxAPI)
    started = client.start_sandbox(
        "auto", "host", ["true"], 64, 0.5, network="none", name="n", labels={"a": "b"}
    )
    assert_type(started, str)
    more = client.start_sandbox(
        type="docker", snapshot_path="/s", ttl_seconds=1, pids=32, shm_mb=8, disk_mb=8, env=["A=b"]
    )
    assert_type(more, str)
    client.start_sandbox(user="root", image_command=True, kernel_image="/k", initrd_path="/i", timeout=1)
    assert_type(client.get_status("a", timeout=1), fs.SandboxStatus | Literal[""])
    assert_type(client.get_info("a"), fs.SandboxInfo)
    assert_type(client.get_logs("a"), fs.GetLogsResult)
    assert_type(client.get_metrics("a"), fs.MetricsResult)
    assert_type(client.get_metrics_history("a", since=1.0, max_points=3), list[fs.MetricsPoint])
    assert_type(client.get_platform_info("a"), dict[str, Any])
    assert_type(client.keep_alive("a", 600), float)
    client.set_network("a", "policy", network_allow=["a.test"])
    client.pause_sandbox("a")
    assert_type(client.fork_sandbox("a", 2, timeout=1), list[str])
    client.resume_sandbox("a")
    client.stop_sandbox("a", cleanup=False)
    page = client.list_sandboxes(status="running", type="gvisor", labels=["a=b"], page_size=1, page_token="t")
    assert_type(page, fs.ListSandboxesResult)
    for info in client.sandboxes(status="paused", type="bubblewrap", labels={"a": "b"}, timeout=1):
        assert_type(info, fs.SandboxInfo)
    assert_type(client.snapshot_sandbox("a"), fs.SnapshotResult)
    assert_type(client.list_snapshots(), list[fs.SnapshotInfo])
    client.remove_snapshot("/snapshot")
    client.create_volume("data")
    assert_type(client.list_volumes(), list[fs.VolumeInfo])
    client.remove_volume("data")
    assert_type(client.export_snapshot("base", "file"), str)
    assert_type(client.import_snapshot("file", name="base"), fs.SnapshotInfo)
    with client.watch_events("token", timeout=1) as events:
        use_events(events)
    client.close()


def use_client_for_commands(client: fs.SandboxAPI) -> None:
    result = client.exec_command(
        "a", "id", env={"A": "b"}, cwd="/", user="root", stdin="in", limit=1, timeout=2
    )
    assert_type(result, fs.ExecResult)
    assert_type(client.run_python("a", "1"), fs.RunPythonResult)
    with client.exec_stream("a", ["sh"], keep_stdin=True, tty=True, rows=1, columns=2, limit=3) as stream:
        use_stream(stream)
    assert_type(client.start_process("a", "id", stdin=b"", env=["A=b"], cwd="/", user="1:1"), str)
    assert_type(client.list_processes("a"), tuple[fs.ProcessInfo, ...])
    assert_type(client.wait_process("a", "p", timeout=None), fs.ExecResult)
    with client.follow_process("a", "p", offset=1, follow=False) as frames:
        use_frames(frames)
    client.signal_process("a", "p", "TERM")
    client.write_stdin("a", "p", b"in", end=True)
    client.resize_process("a", "p", 24, 80)


def use_client_for_files(client: fs.SandboxAPI, chunks: Iterator[bytes]) -> None:
    assert_type(client.read_file("a", "/f", max_bytes=1), bytes)
    client.write_file("a", "/f", "text", mode=0o600, parents=True)
    assert_type(client.stat("a", "/f"), fs.FileInfo)
    assert_type(client.list_dir("a", "/"), tuple[fs.FileInfo, ...])
    client.make_dir("a", "/d", mode=0o700, parents=True)
    client.remove("a", "/d", recursive=True)
    client.move("a", "/f", "/g")
    client.upload("a", Path("f"), "/f", progress=tell)
    client.download("a", "/f", "f", progress=tell, max_bytes=1)
    client.upload_archive("a", "/d", chunks)
    assert_type(client.connect_port("a", 80, timeout=1), fs.PortConnection)
    client.send_to_port("a", "c", chunks, end=True)
    client.disconnect_port("a", "c")
    assert_type(client.list_ports("a"), tuple[fs.PortInfo, ...])
    assert_type(client.get_port_url("a", 80, ttl=60), str)
    use_archive(client.download_archive("a", "/d", max_bytes=1))


def use_sandboxes(client: fs.SandboxAPI) -> None:
    with fs.Sandbox.create("host", type="bubblewrap", command=["true"]) as sandbox:
        use_sandbox(sandbox)
    snapshot = fs.Sandbox(client, "a").snapshot()
    limits = fs.Sandbox.create(snapshot=snapshot, memory_mb=64, cpu_cores=0.5, pids=32, shm_mb=8, ttl=1)
    assert_type(limits, fs.Sandbox)
    names = fs.Sandbox.create(name="n", labels={"a": "b"}, env={"A": "b"}, user="root", network="bridge")
    assert_type(names, fs.Sandbox)
    fs.Sandbox.create(image_command=True, kernel_image="/k", initrd_path="/i", client=client, timeout=1)
    assert_type(fs.Sandbox.connect("a", client=client, timeout=1), fs.Sandbox)
    for each in fs.Sandbox.list(status="running", type="docker", labels=["a=b"], client=client):
        assert_type(each, fs.Sandbox)


def use_sandbox(sandbox: fs.Sandbox) -> None:
    assert_type(sandbox.id, str)
    use_commands(sandbox.commands)
    use_files(sandbox.files)
    use_ports(sandbox.ports)
    assert_type(sandbox.status(), fs.SandboxStatus | Literal[""])
    assert_type(sandbox.info(timeout=1), fs.SandboxInfo)
    assert_type(sandbox.logs(), fs.GetLogsResult)
    assert_type(sandbox.metrics(), fs.MetricsResult)
    assert_type(sandbox.metrics_history(since=1.0), list[fs.MetricsPoint])
    assert_type(sandbox.platform_info(), dict[str, Any])
    assert_type(sandbox.keep_alive(600), float)
    sandbox.set_network(fs.Network(allow=["a.test"]))
    assert_type(sandbox.run("id", limit=1, check=True, timeout=None), fs.ExecResult)
    assert_type(sandbox.run_python("1"), fs.RunPythonResult)
    assert_type(sandbox.snapshot(), fs.SnapshotResult)
    sandbox.pause()
    assert_type(sandbox.fork(2), list[fs.Sandbox])
    sandbox.resume()
    sandbox.stop(cleanup=False, timeout=1)
    sandbox.close()


def use_sandbox_by_the_clients_names(sandbox: fs.Sandbox, chunks: Iterator[bytes]) -> None:
    assert_type(sandbox.get_status(), fs.SandboxStatus | Literal[""])
    assert_type(sandbox.get_info(), fs.SandboxInfo)
    assert_type(sandbox.get_logs(), fs.GetLogsResult)
    assert_type(sandbox.get_metrics(), fs.MetricsResult)
    assert_type(sandbox.get_metrics_history(), list[fs.MetricsPoint])
    assert_type(sandbox.get_platform_info(), dict[str, Any])
    assert_type(sandbox.snapshot_sandbox(), fs.SnapshotResult)
    sandbox.pause_sandbox()
    assert_type(sandbox.fork_sandbox(), list[fs.Sandbox])
    sandbox.resume_sandbox()
    sandbox.stop_sandbox(cleanup=True)
    assert_type(sandbox.exec_command("id", timeout=1), fs.ExecResult)
    use_stream(sandbox.exec_stream("id"))
    assert_type(sandbox.start_process("id"), str)
    assert_type(sandbox.list_processes(), tuple[fs.ProcessInfo, ...])
    assert_type(sandbox.wait_process("p"), fs.ExecResult)
    use_frames(sandbox.follow_process("p"))
    sandbox.signal_process("p", 9)
    sandbox.write_stdin("p", "in")
    sandbox.resize_process("p", 24, 80)
    assert_type(sandbox.read_file("/f"), bytes)
    sandbox.write_file("/f", b"")
    assert_type(sandbox.stat("/f"), fs.FileInfo)
    assert_type(sandbox.list_dir("/"), tuple[fs.FileInfo, ...])
    sandbox.make_dir("/d")
    sandbox.remove("/d")
    sandbox.move("/f", "/g")
    sandbox.upload("f", "/f")
    sandbox.download("/f", "f")
    sandbox.upload_archive("/d", chunks)
    assert_type(sandbox.connect_port(80), fs.PortConnection)
    sandbox.send_to_port("c", chunks)
    sandbox.disconnect_port("c")
    assert_type(sandbox.list_ports(), tuple[fs.PortInfo, ...])
    assert_type(sandbox.get_port_url(80), str)
    use_archive(sandbox.download_archive("/d"))


def use_commands(commands: fs.Commands) -> None:
    assert_type(commands.run(["id"], env={"A": "b"}, cwd="/", user="root", stdin=b"in"), fs.ExecResult)
    use_process(commands.start("id", keep_stdin=True, tty=True, rows=1, columns=2, limit=3))
    use_process(commands.process("p"))
    use_stream(commands.stream(["id"], limit=1))
    assert_type(commands.list(), tuple[fs.ProcessInfo, ...])


def use_process(process: fs.Process) -> None:
    assert_type(process.process_id, str)
    process.send_stdin("in", end=True)
    process.signal("INT")
    process.resize(24, 80)
    process.kill(timeout=1)
    assert_type(process.wait(check=True, timeout=1), fs.ExecResult)
    for frame in process:
        assert_type(frame, fs.ExecFrame)
    use_frames(process.follow(offset=1, follow=False))


def use_ports(ports: fs.Ports) -> None:
    ports.wait(80, timeout=1)
    assert_type(ports.list(), tuple[fs.PortInfo, ...])
    assert_type(ports.url(80, ttl=60), str)
    with ports.connect(80, timeout=1) as connection:
        use_connection(connection)
    with ports.forward(80, 8080, host="::1") as forward:
        use_forward(forward)


def use_connection(connection: fs.PortConnection) -> None:
    connection.send(b"x", end=False, timeout=1)
    connection.end()
    assert_type(connection.receive(), bytes)
    for piece in connection:
        assert_type(piece, bytes)
    connection.disconnect()
    connection.wait_closed()
    connection.close()


def use_forward(forward: fs.Forward) -> None:
    assert_type(forward.local_port, int)
    forward.open()
    forward.close()


def use_files(files: fs.Files) -> None:
    assert_type(files.read("/f", max_bytes=1), bytes)
    files.write("/f", "text", mode=0o600, parents=True)
    assert_type(files.stat("/f"), fs.FileInfo)
    assert_type(files.list("/"), tuple[fs.FileInfo, ...])
    files.make_dir("/d", parents=True)
    files.remove("/d", recursive=True)
    files.move("/f", "/g")
    files.upload(Path("f"), "/f", progress=tell)
    files.download("/f", Path("f"), max_bytes=1)
    archive = files.download_archive("/d", max_bytes=1)
    files.upload_archive("/d", (chunk.data for chunk in archive))


def use_stream(stream: fs.ExecStream) -> None:
    assert_type(stream.process_id, str)
    assert_type(stream.exit, fs.ExecFrame | None)
    stream.send_stdin(b"in", end=True)
    stream.signal(2)
    stream.resize(24, 80)
    stream.kill()
    stream.close()
    use_frames(stream)


def use_frames(frames: fs.Frames) -> None:
    for frame in frames:
        assert_type(frame.type, fs.FrameType | Literal[""])
        assert_type(frame.text, str)
    frames.close()


def use_events(events: fs.Events) -> None:
    for event in events:
        assert_type(event.type, fs.EventType | Literal[""])
    assert_type(events.token, str)
    events.close()


def use_archive(archive: fs.Archive) -> None:
    assert_type(archive.read(), bytes)
    for chunk in archive:
        assert_type(chunk, fs.DownloadArchiveChunk)
    archive.close()


def tell(done: int, total: int | None) -> None:
    print(done, total)


def use_results(result: fs.ExecResult, python: fs.RunPythonResult, snapshot: fs.SnapshotResult) -> None:
    assert_type(result.check(), fs.ExecResult)
    assert_type(python.check(), fs.RunPythonResult)
    texts: Iterable[str | bytes] = (result.stdout, result.stdout_bytes, python.stderr_bytes, python.result)
    print(result.ok, *texts, snapshot["snapshot_path"], snapshot.mem_file_path)
