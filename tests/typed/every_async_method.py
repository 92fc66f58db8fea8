"""Uses every public method of the asynchronous half, for type checkers to read; it is never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Literal, assert_type

import httpx

import flash_sandbox as fs


async def connect() -> None:
    assert_type(await fs.connect_async(), fs.AsyncHTTPClient | fs.AsyncSandboxClient)
    async with await fs.connect_async("grpc://h:1", api_key="k", timeout=None, max_retries=0) as client:
        await use_client(client)
    await use_client(fs.AsyncHTTPClient("h", 1, None, 5, httpx.AsyncClient(), api_key="k", max_retries=1))
    await use_client(fs.AsyncSandboxClient("h", 1, "grpcs://h:1", None, ssl=True, metadata={"a": "b"}))


async def use_client(client: fs.AsyncSandboxAPI) -> None:
    async with client.with_options(timeout=None, max_retries=1) as other:
        assert_type(other, fs.AsyncSandboxAPI)
    started = client.start_sandbox(
        "auto", "host", ["true"], 64, 0.5, network="none", name="n", labels={"a": "b"}
    )
    assert_type(await started, str)
    more = client.start_sandbox(
        type="docker", snapshot_path="/s", ttl_seconds=1, pids=32, shm_mb=8, disk_mb=8, env=["A=b"]
    )
    assert_type(await more, str)
    await client.start_sandbox(
        user="root", image_command=True, kernel_image="/k", initrd_path="/i", timeout=1
    )
    assert_type(await client.get_status("a", timeout=1), fs.SandboxStatus | Literal[""])
    assert_type(await client.get_info("a"), fs.SandboxInfo)
    assert_type(await client.get_logs("a"), fs.GetLogsResult)
    assert_type(await client.get_metrics("a"), fs.MetricsResult)
    assert_type(await client.get_metrics_history("a", since=1.0, max_points=3), list[fs.MetricsPoint])
    assert_type(await client.get_platform_info("a"), dict[str, Any])
    assert_type(await client.keep_alive("a", 600), float)
    await client.set_network("a", "policy", network_allow=["a.test"])
    await client.pause_sandbox("a")
    assert_type(await client.fork_sandbox("a", 2), list[str])
    await client.resume_sandbox("a")
    await client.stop_sandbox("a", cleanup=False)
    page = await client.list_sandboxes(
        status="running", type="gvisor", labels=["a=b"], page_size=1, page_token="t"
    )
    assert_type(page, fs.ListSandboxesResult)
    async for info in client.sandboxes(status="paused", type="bubblewrap", labels={"a": "b"}, timeout=1):
        assert_type(info, fs.SandboxInfo)
    assert_type(await client.snapshot_sandbox("a"), fs.SnapshotResult)
    assert_type(await client.list_snapshots(), list[fs.SnapshotInfo])
    await client.remove_snapshot("/snapshot")
    await client.create_volume("data")
    assert_type(await client.list_volumes(), list[fs.VolumeInfo])
    await client.remove_volume("data")
    assert_type(await client.export_snapshot("base", "file"), str)
    assert_type(await client.import_snapshot("file", name="base"), fs.SnapshotInfo)
    async with await client.watch_events("token", timeout=1) as events:
        await use_events(events)
    await client.close()


async def use_client_for_commands(client: fs.AsyncSandboxAPI) -> None:
    result = await client.exec_command(
        "a", "id", env={"A": "b"}, cwd="/", user="root", stdin="in", limit=1, timeout=2
    )
    assert_type(result, fs.ExecResult)
    assert_type(await client.run_python("a", "1"), fs.RunPythonResult)
    async with await client.exec_stream(
        "a", ["sh"], keep_stdin=True, tty=True, rows=1, columns=2, limit=3
    ) as stream:
        await use_stream(stream)
    assert_type(await client.start_process("a", "id", stdin=b"", env=["A=b"], cwd="/", user="1:1"), str)
    assert_type(await client.list_processes("a"), tuple[fs.ProcessInfo, ...])
    assert_type(await client.wait_process("a", "p", timeout=None), fs.ExecResult)
    async with await client.follow_process("a", "p", offset=1, follow=False) as frames:
        await use_frames(frames)
    await client.signal_process("a", "p", "TERM")
    await client.write_stdin("a", "p", b"in", end=True)
    await client.resize_process("a", "p", 24, 80)


async def use_client_for_files(client: fs.AsyncSandboxAPI, chunks: AsyncIterator[bytes]) -> None:
    assert_type(await client.read_file("a", "/f", max_bytes=1), bytes)
    await client.write_file("a", "/f", "text", mode=0o600, parents=True)
    assert_type(await client.stat("a", "/f"), fs.FileInfo)
    assert_type(await client.list_dir("a", "/"), tuple[fs.FileInfo, ...])
    await client.make_dir("a", "/d", mode=0o700, parents=True)
    await client.remove("a", "/d", recursive=True)
    await client.move("a", "/f", "/g")
    await client.upload("a", Path("f"), "/f", progress=tell)
    await client.download("a", "/f", "f", progress=tell, max_bytes=1)
    await client.upload_archive("a", "/d", chunks)
    assert_type(await client.connect_port("a", 80, timeout=1), fs.AsyncPortConnection)
    await client.send_to_port("a", "c", chunks, end=True)
    await client.disconnect_port("a", "c")
    assert_type(await client.list_ports("a"), tuple[fs.PortInfo, ...])
    assert_type(await client.get_port_url("a", 80, ttl=60), str)
    await use_archive(await client.download_archive("a", "/d", max_bytes=1))


async def use_sandboxes(client: fs.AsyncSandboxAPI) -> None:
    async with await fs.AsyncSandbox.create("host", type="bubblewrap", command=["true"]) as sandbox:
        await use_sandbox(sandbox)
    snapshot = await fs.AsyncSandbox(client, "a").snapshot()
    limits = fs.AsyncSandbox.create(snapshot=snapshot, memory_mb=64, cpu_cores=0.5, pids=32, shm_mb=8, ttl=1)
    assert_type(await limits, fs.AsyncSandbox)
    names = fs.AsyncSandbox.create(name="n", labels={"a": "b"}, env={"A": "b"}, user="root", network="bridge")
    assert_type(await names, fs.AsyncSandbox)
    await fs.AsyncSandbox.create(
        image_command=True, kernel_image="/k", initrd_path="/i", client=client, timeout=1
    )
    assert_type(await fs.AsyncSandbox.connect("a", client=client, timeout=1), fs.AsyncSandbox)
    async for each in fs.AsyncSandbox.list(status="running", type="docker", labels=["a=b"], client=client):
        assert_type(each, fs.AsyncSandbox)


async def use_sandbox(sandbox: fs.AsyncSandbox) -> None:
    assert_type(sandbox.id, str)
    await use_commands(sandbox.commands)
    await use_files(sandbox.files)
    await use_ports(sandbox.ports)
    assert_type(await sandbox.status(), fs.SandboxStatus | Literal[""])
    assert_type(await sandbox.info(timeout=1), fs.SandboxInfo)
    assert_type(await sandbox.logs(), fs.GetLogsResult)
    assert_type(await sandbox.metrics(), fs.MetricsResult)
    assert_type(await sandbox.metrics_history(since=1.0), list[fs.MetricsPoint])
    assert_type(await sandbox.platform_info(), dict[str, Any])
    assert_type(await sandbox.keep_alive(600), float)
    await sandbox.set_network(fs.Network(allow=["a.test"]))
    assert_type(await sandbox.run("id", limit=1, check=True, timeout=None), fs.ExecResult)
    assert_type(await sandbox.run_python("1"), fs.RunPythonResult)
    assert_type(await sandbox.snapshot(), fs.SnapshotResult)
    await sandbox.pause()
    assert_type(await sandbox.fork(2), list[fs.AsyncSandbox])
    await sandbox.resume()
    await sandbox.stop(cleanup=False, timeout=1)
    await sandbox.close()


async def use_sandbox_by_the_clients_names(sandbox: fs.AsyncSandbox, chunks: AsyncIterator[bytes]) -> None:
    assert_type(await sandbox.get_status(), fs.SandboxStatus | Literal[""])
    assert_type(await sandbox.get_info(), fs.SandboxInfo)
    assert_type(await sandbox.get_logs(), fs.GetLogsResult)
    assert_type(await sandbox.get_metrics(), fs.MetricsResult)
    assert_type(await sandbox.get_metrics_history(), list[fs.MetricsPoint])
    assert_type(await sandbox.get_platform_info(), dict[str, Any])
    assert_type(await sandbox.snapshot_sandbox(), fs.SnapshotResult)
    await sandbox.pause_sandbox()
    assert_type(await sandbox.fork_sandbox(), list[fs.AsyncSandbox])
    await sandbox.resume_sandbox()
    await sandbox.stop_sandbox(cleanup=True)
    assert_type(await sandbox.exec_command("id", timeout=1), fs.ExecResult)
    await use_stream(await sandbox.exec_stream("id"))
    assert_type(await sandbox.start_process("id"), str)
    assert_type(await sandbox.list_processes(), tuple[fs.ProcessInfo, ...])
    assert_type(await sandbox.wait_process("p"), fs.ExecResult)
    await use_frames(await sandbox.follow_process("p"))
    await sandbox.signal_process("p", 9)
    await sandbox.write_stdin("p", "in")
    await sandbox.resize_process("p", 24, 80)
    assert_type(await sandbox.read_file("/f"), bytes)
    await sandbox.write_file("/f", b"")
    assert_type(await sandbox.stat("/f"), fs.FileInfo)
    assert_type(await sandbox.list_dir("/"), tuple[fs.FileInfo, ...])
    await sandbox.make_dir("/d")
    await sandbox.remove("/d")
    await sandbox.move("/f", "/g")
    await sandbox.upload("f", "/f")
    await sandbox.download("/f", "f")
    await sandbox.upload_archive("/d", chunks)
    assert_type(await sandbox.connect_port(80), fs.AsyncPortConnection)
    await sandbox.send_to_port("c", chunks)
    await sandbox.disconnect_port("c")
    assert_type(await sandbox.list_ports(), tuple[fs.PortInfo, ...])
    assert_type(await sandbox.get_port_url(80), str)
    await use_archive(await sandbox.download_archive("/d"))


async def use_commands(commands: fs.AsyncCommands) -> None:
    assert_type(await commands.run(["id"], env={"A": "b"}, cwd="/", user="root", stdin=b"in"), fs.ExecResult)
    await use_process(await commands.start("id", keep_stdin=True, tty=True, rows=1, columns=2, limit=3))
    await use_process(commands.process("p"))
    await use_stream(await commands.stream(["id"], limit=1))
    assert_type(await commands.list(), tuple[fs.ProcessInfo, ...])


async def use_process(process: fs.AsyncProcess) -> None:
    assert_type(process.process_id, str)
    await process.send_stdin("in", end=True)
    await process.signal("INT")
    await process.resize(24, 80)
    await process.kill(timeout=1)
    assert_type(await process.wait(check=True, timeout=1), fs.ExecResult)
    async for frame in process:
        assert_type(frame, fs.ExecFrame)
    await use_frames(await process.follow(offset=1, follow=False))


async def use_ports(ports: fs.AsyncPorts) -> None:
    await ports.wait(80, timeout=1)
    assert_type(await ports.list(), tuple[fs.PortInfo, ...])
    assert_type(await ports.url(80, ttl=60), str)
    async with await ports.connect(80, timeout=1) as connection:
        await use_connection(connection)
    async with await ports.forward(80, 8080, host="::1") as forward:
        await use_forward(forward)


async def use_connection(connection: fs.AsyncPortConnection) -> None:
    await connection.send(b"x", end=False, timeout=1)
    await connection.end()
    assert_type(await connection.receive(), bytes)
    async for piece in connection:
        assert_type(piece, bytes)
    await connection.disconnect()
    await connection.wait_closed()
    await connection.close()


async def use_forward(forward: fs.AsyncForward) -> None:
    assert_type(forward.local_port, int)
    await forward.open()
    await forward.close()


async def use_files(files: fs.AsyncFiles) -> None:
    assert_type(await files.read("/f", max_bytes=1), bytes)
    await files.write("/f", "text", mode=0o600, parents=True)
    assert_type(await files.stat("/f"), fs.FileInfo)
    assert_type(await files.list("/"), tuple[fs.FileInfo, ...])
    await files.make_dir("/d", parents=True)
    await files.remove("/d", recursive=True)
    await files.move("/f", "/g")
    await files.upload(Path("f"), "/f", progress=tell)
    await files.download("/f", Path("f"), max_bytes=1)
    archive = await files.download_archive("/d", max_bytes=1)
    await files.upload_archive("/d", (chunk.data async for chunk in archive))


async def use_stream(stream: fs.AsyncExecStream) -> None:
    assert_type(stream.process_id, str)
    assert_type(stream.exit, fs.ExecFrame | None)
    await stream.send_stdin(b"in", end=True)
    await stream.signal(2)
    await stream.resize(24, 80)
    await stream.kill()
    await stream.close()
    await use_frames(stream)


async def use_frames(frames: fs.AsyncFrames) -> None:
    async for frame in frames:
        assert_type(frame.type, fs.FrameType | Literal[""])
        assert_type(frame.text, str)
    await frames.close()


async def use_events(events: fs.AsyncEvents) -> None:
    async for event in events:
        assert_type(event.type, fs.EventType | Literal[""])
    assert_type(events.token, str)
    await events.close()


async def use_archive(archive: fs.AsyncArchive) -> None:
    assert_type(await archive.read(), bytes)
    async for chunk in archive:
        assert_type(chunk, fs.DownloadArchiveChunk)
    await archive.close()


def tell(done: int, total: int | None) -> None:
    print(done, total)


def use_results(result: fs.ExecResult, python: fs.RunPythonResult, snapshot: fs.SnapshotResult) -> None:
    assert_type(result.check(), fs.ExecResult)
    assert_type(python.check(), fs.RunPythonResult)
    texts: Iterable[str | bytes] = (result.stdout, result.stdout_bytes, python.stderr_bytes, python.result)
    print(result.ok, *texts, snapshot["snapshot_path"], snapshot.mem_file_path)
