"""What hosts get in place of placeholders, and the authority that programs of a sandbox trust."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flash_sandbox.orchestrator.network.authority import Authority
from flash_sandbox.orchestrator.network.java_keystore import keystore
from flash_sandbox.orchestrator.network.judge import Target
from flash_sandbox.orchestrator.network.secrets import Secrets, placeholder
from flash_sandbox.orchestrator.network.tls import TlsStream

MASTER = bytes(range(32))
TOKEN, OTHER = placeholder("TOKEN"), placeholder("OTHER")
SECRETS = Secrets(("TOKEN@api.example.com,*.example.org:8443=s3cr=t@", "OTHER@other.example.com=second"))
API = Target("api.example.com", 443)


def test_programs_find_placeholders() -> None:
    assert SECRETS.environment == {"TOKEN": TOKEN, "OTHER": OTHER}
    assert "s3cr" not in str(SECRETS.environment)


@pytest.mark.parametrize(
    ("target", "is_for"),
    [
        (API, True),
        (Target("api.example.com", 80), True),
        (Target("api.example.com", 22), False),
        (Target("b.example.org", 8443), True),
        (Target("b.example.org", 443), False),
        (Target("example.com", 443), False),
    ],
)
def test_hosts_get_what_is_for_them_alone(target: Target, is_for: bool) -> None:
    headers = [(b"authorization", f"Bearer {TOKEN}".encode()), (b"x-both", f"{TOKEN} {OTHER}".encode())]
    filled = SECRETS.filled_headers(target, headers)
    value = "s3cr=t@" if is_for else TOKEN
    assert filled == [
        (b"authorization", f"Bearer {value}".encode()),
        (b"x-both", f"{value} {OTHER}".encode()),
    ]
    assert SECRETS.are_for(target) == is_for
    assert SECRETS.filled(target, f"/?key={TOKEN}".encode()) == f"/?key={value}".encode()


def test_a_password_is_filled_in_where_it_is_in_base64() -> None:
    asked = b"Basic " + base64.b64encode(f"user:{TOKEN}".encode())
    sent = b"Basic " + base64.b64encode(b"user:s3cr=t@")
    assert SECRETS.filled_headers(API, [(b"authorization", asked)]) == [(b"authorization", sent)]


@pytest.mark.parametrize("value", [b"Basic ", b"basic !!", b"Basic YQ", b"Basic"])
def test_what_is_no_base64_stays_as_it_is(value: bytes) -> None:
    assert SECRETS.filled_headers(API, [(b"authorization", value)]) == [(b"authorization", value)]


class Pipe:
    """One end of a connection that is in memory."""

    def __init__(self) -> None:
        self.other: Pipe
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes:
        return await self._pieces.get()

    async def write(self, data: bytes) -> None:
        # Cut to pieces, as a network may.
        for at in range(0, len(data), 1000):
            self.other._pieces.put_nowait(data[at : at + 1000])

    async def end(self) -> None:
        self.other._pieces.put_nowait(b"")


class Program:
    """A program that speaks TLS to a server."""

    def __init__(self, pipe: Pipe, context: ssl.SSLContext, name: str) -> None:
        self._pipe = pipe
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    async def do(self, step):
        """Do one step, with whatever has to be sent and received for that."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._pipe.write(self._outgoing.read())
                self._incoming.write(await self._pipe.read())
            else:
                await self._pipe.write(self._outgoing.read())
                return result


@asynccontextmanager
async def connected(
    authority: Authority, trusted: bytes, name: str
) -> AsyncIterator[tuple[TlsStream, Program]]:
    ours, theirs = Pipe(), Pipe()
    ours.other, theirs.other = theirs, ours
    context = ssl.create_default_context(cadata=trusted.decode())
    program = Program(theirs, context, name)
    server = TlsStream(ours, authority.context_for("api.example.com"), b"")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.begin())
        tasks.create_task(program.do(program.tls.do_handshake))
    yield server, program


async def test_a_program_that_trusts_the_authority_takes_the_gate_for_the_host() -> None:
    authority = Authority(MASTER, "a")
    async with connected(authority, authority.certificate, "api.example.com") as (server, program):
        content = bytes(range(256)) * 1000
        writing = asyncio.create_task(program.do(lambda: program.tls.write(content)))
        received = b""
        while len(received) < len(content):
            received += await server.read()
        await writing
        assert received == content
        await server.write(b"answer")
        assert await program.do(lambda: program.tls.read(100)) == b"answer"


async def test_the_next_orchestrator_has_the_same_authority() -> None:
    async with connected(Authority(MASTER, "a"), Authority(MASTER, "a").certificate, "api.example.com"):
        pass


@pytest.mark.parametrize("trusted", [Authority(MASTER, "b"), Authority(MASTER[::-1], "a")])
async def test_another_sandbox_does_not_trust_it(trusted: Authority) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with connected(Authority(MASTER, "a"), trusted.certificate, "api.example.com"):
            pass
    assert caught.group_contains(ssl.SSLCertVerificationError)


async def test_it_passes_for_no_other_host() -> None:
    authority = Authority(MASTER, "a")
    with pytest.raises(ExceptionGroup) as caught:
        async with connected(authority, authority.certificate, "other.example.com"):
            pass
    assert caught.group_contains(ssl.SSLCertVerificationError)


def test_java_reads_a_list_of_authorities(tmp_path: Path, need: Callable[..., None]) -> None:
    need("java", None if shutil.which("keytool") else "there is no keytool (Debian: default-jdk-headless)")
    certificates = [Authority(MASTER, name).certificate for name in ("one", "two")]
    (tmp_path / "cacerts").write_bytes(keystore(b"# A comment\n" + b"\n".join(certificates)))
    command = ["keytool", "-list", "-rfc", "-storepass", "changeit", "-keystore", tmp_path / "cacerts"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pem = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", printed, re.DOTALL)
    assert {ssl.PEM_cert_to_DER_cert(text) for text in pem} == {
        ssl.PEM_cert_to_DER_cert(certificate.decode()) for certificate in certificates
    }


def test_what_is_no_certificate_is_left_out_for_java() -> None:
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
    own = Authority(MASTER, "one").certificate
    for junk in (b"AAAAA\n", b"\n", b"\xff\xfe\n", b"bm9uZQ==\n", begin + b"MIIC\n"):
        assert keystore(begin + junk + end + own) == keystore(own) != keystore(b"")
    # A list that was cut off does not take what follows with it.
    assert keystore(begin + b"MIIC\n" + own) == keystore(own)
