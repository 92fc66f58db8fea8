"""The distribution protocol: manifests and blobs of a registry over HTTP.

Sources: the OCI distribution specification; docs.docker.com/registry/spec/auth/token for tokens; RFC 9110 for
challenges and ranges. HTTPS always, but for a registry on this host's own loopback interface.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from ...address import parse_address
from ...errors import UnavailableError
from ...transports.proxies import proxy_for, without_password
from ..version import installed_version
from .blobs import PartialBlob
from .credentials import Credentials, Login
from .manifests import ACCEPT, MAX_DOCUMENT_BYTES, Descriptor
from .references import Reference, not_usable

__all__ = ["Registry"]

_TIMEOUT: Final = httpx.Timeout(60.0, connect=15.0)
# One after another without a byte more than before, and in all.
_TRIES: Final = 5
_MAX_TRIES: Final = 100
_PAUSE_SECONDS: Final = 0.2
_MAX_TOKEN_BYTES: Final = 64 * 1024
_CHALLENGE: Final = re.compile(r"(?:^|,)\s*(Basic|Bearer)(?:\s+|$)", re.IGNORECASE)
_PARAMETER: Final = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-")


class _Again(Exception):
    """The registry may well answer if it is asked once more."""


class Registry:
    """One repository of a registry, as an async context manager.

    Args:
        reference: The image; its tag and digest do not matter here.
        credentials: Where logins are looked up.
    """

    def __init__(self, reference: Reference, credentials: Credentials) -> None:
        self._reference = reference
        self._credentials = credentials
        self._authorization = ""
        where = urlsplit(reference.api)
        self._proxy = proxy_for(parse_address(f"{where.scheme}://{where.netloc}", "", 0))
        try:
            self._client = httpx.AsyncClient(
                headers={"user-agent": f"flash-sandbox/{installed_version()}", "accept-encoding": "identity"},
                timeout=_TIMEOUT,
                follow_redirects=True,
                # A proxy has another loopback interface.
                trust_env=not reference.is_loopback,
                event_hooks={"request": [self._check_request]},
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise self._unavailable(f"a proxy that the environment names cannot be used: {error}") from error

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def manifest(self, selector: str) -> bytes:
        """Return a manifest or an index.

        Args:
            selector: A tag or a digest. That the answer has this digest is for the caller to check.

        Raises:
            InvalidArgumentError: If there is none, or if these credentials may not see it.
            UnavailableError: If the registry does not answer.
        """
        return await self._document(f"manifests/{selector}", ACCEPT)

    async def document(self, descriptor: Descriptor) -> bytes:
        """Return a small blob, such as an image's configuration, after checking its digest.

        Raises:
            InvalidArgumentError: If it is not there, too large or another.
            UnavailableError: If the registry does not answer.
        """
        return descriptor.check(await self._document(f"blobs/{descriptor.digest}", "*/*"))

    async def blob(self, partial: PartialBlob, advanced: Callable[[int], None]) -> None:
        """Download what is missing of a blob, again and again where the connection is cut.

        Args:
            partial: What there is; it has its name once this returns.
            advanced: Called with the number of bytes that there are, as they come.

        Raises:
            InvalidArgumentError: If it is not there, or not what its digest says.
            UnavailableError: If the registry does not answer.
        """
        without_progress = 0
        for _ in range(_MAX_TRIES):
            before = partial.size
            try:
                if not partial.is_whole:
                    await self._transfer(partial, advanced)
                await asyncio.to_thread(partial.commit)
                return
            except (httpx.TransportError, _Again) as error:
                without_progress = 0 if partial.size > before else without_progress + 1
                if without_progress == _TRIES:
                    raise self._unavailable(error) from error
            await asyncio.sleep(_PAUSE_SECONDS * 2**without_progress)
        raise self._unavailable("the connection was cut too often")

    async def _transfer(self, partial: PartialBlob, advanced: Callable[[int], None]) -> None:
        headers = {"accept": "*/*"}
        if partial.size:
            headers["range"] = f"bytes={partial.size}-"
        async with self._open(f"blobs/{partial.descriptor.digest}", headers) as response:
            start = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
            if partial.size and not (response.status_code == 206 and start and int(start[1]) == partial.size):
                partial.restart()
            async for chunk in response.aiter_raw():
                partial.write(chunk)
                advanced(partial.size)
        if not partial.is_whole:
            raise _Again("the answer ended early")

    async def _document(self, path: str, accept: str) -> bytes:
        tries = 0
        while True:
            try:
                async with self._open(path, {"accept": accept}) as response:
                    return await _read(response, MAX_DOCUMENT_BYTES, self._reference)
            except (httpx.TransportError, _Again) as error:
                tries += 1
                if tries == _TRIES:
                    raise self._unavailable(error) from error
            await asyncio.sleep(_PAUSE_SECONDS * 2**tries)

    @asynccontextmanager
    async def _open(self, path: str, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """Begin an exchange; the response has a status that means success."""
        url = f"{self._reference.api}/{path}"
        for attempt in range(2):
            sent = headers | ({"authorization": self._authorization} if self._authorization else {})
            try:
                async with self._client.stream("GET", url, headers=sent) as response:
                    if response.status_code == 401 and attempt == 0:
                        challenges = response.headers.get_list("www-authenticate")
                    else:
                        self._require_success(response)
                        yield response
                        return
            except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.UnsupportedProtocol) as error:
                raise not_usable(str(self._reference), f"its registry answers badly: {error}") from error
            self._authorization = await self._authorize(challenges)

    def _require_success(self, response: httpx.Response) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if status in (408, 416, 429) or status >= 500:
            raise _Again(f"HTTP status {status}")
        if status in (401, 403):
            why = f"{self._reference.registry} denies access; check the name, and the login for it"
        elif status == 404:
            why = f"{self._reference.registry} has no such image"
        else:
            why = f"{self._reference.registry} answers with HTTP status {status}"
        raise not_usable(str(self._reference), why)

    # Authentication

    async def _authorize(self, challenges: list[str]) -> str:
        """Return the value of an ``authorization`` header that answers a challenge; empty for none."""
        try:
            login = self._credentials.find(self._reference.registry)
        except ValueError as error:
            raise not_usable(str(self._reference), str(error)) from error
        offered = _parse_challenges(challenges)
        if "bearer" in offered:
            return "Bearer " + await self._token(offered["bearer"], login)
        if "basic" in offered and login is not None:
            return login.header
        return ""

    async def _token(self, challenge: dict[str, str], login: Login | None) -> str:
        scope = challenge.get("scope") or f"repository:{self._reference.repository}:pull"
        parameters = {"scope": scope}
        if "service" in challenge:
            parameters["service"] = challenge["service"]
        headers = {"authorization": login.header} if login else {}
        try:
            async with self._client.stream(
                "GET", challenge.get("realm", ""), params=parameters, headers=headers
            ) as response:
                self._require_success(response)
                answer: Any = httpx.Response(
                    200, content=await _read(response, _MAX_TOKEN_BYTES, self._reference)
                ).json()
        except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.UnsupportedProtocol, ValueError) as error:
            raise not_usable(str(self._reference), f"its registry gives no token: {error}") from error
        token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise not_usable(str(self._reference), "its registry gives no token")
        return token

    # What goes wrong

    async def _check_request(self, request: httpx.Request) -> None:
        """Refuse to be led, by a redirection or a challenge, to where others could listen."""
        url = request.url
        target = Reference(f"[{url.host}]" if ":" in url.host else url.host, "")
        if url.scheme != "https" and not (self._reference.is_loopback and target.is_loopback):
            raise not_usable(
                str(self._reference), f"its registry leads to {url.scheme}://{url.host}, not to https"
            )

    def _unavailable(self, why: object) -> UnavailableError:
        what = str(why) or type(why).__name__
        if self._proxy is not None:
            what += f" (through the proxy {without_password(self._proxy)}, which the environment names)"
        return UnavailableError(f"image {str(self._reference)!r}: {self._reference.registry}: {what}")


async def _read(response: httpx.Response, most: int, reference: Reference) -> bytes:
    document = bytearray()
    async for chunk in response.aiter_raw():
        document += chunk
        if len(document) > most:
            raise not_usable(str(reference), f"its registry sends a document of more than {most} bytes")
    return bytes(document)


def _parse_challenges(headers: list[str]) -> dict[str, dict[str, str]]:
    """Return the parameters of each scheme that is offered, the schemes in lower case."""
    offered: dict[str, dict[str, str]] = {}
    for header in headers:
        starts = list(_CHALLENGE.finditer(header))
        for position, start in enumerate(starts):
            end = starts[position + 1].start() if position + 1 < len(starts) else len(header)
            found = _PARAMETER.findall(header[start.end() : end])
            values = {name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare for name, quoted, bare in found}
            offered.setdefault(start[1].lower(), values)
    return offered
