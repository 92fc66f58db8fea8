from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...models.error import Error
from ...models.get_port_url_request import GetPortUrlRequest
from ...models.get_port_url_response import GetPortUrlResponse
from ...types import Response


def _get_kwargs(
    id: str,
    *,
    body: GetPortUrlRequest,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/sandboxes/{id}/links".format(
            id=quote(str(id), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Error | GetPortUrlResponse:
    if response.status_code == 200:
        response_200 = GetPortUrlResponse.from_dict(response.json())

        return response_200

    response_default = Error.from_dict(response.json())

    return response_default


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Error | GetPortUrlResponse]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    id: str,
    *,
    client: AuthenticatedClient,
    body: GetPortUrlRequest,
) -> Response[Error | GetPortUrlResponse]:
    """Return a URL by which whoever has it reaches a port of a sandbox over HTTP, until it expires.

     It names one port, and no other one is reached by it. It ends with the orchestrator, too.

    Args:
        id (str):
        body (GetPortUrlRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | GetPortUrlResponse]
    """

    kwargs = _get_kwargs(
        id=id,
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    id: str,
    *,
    client: AuthenticatedClient,
    body: GetPortUrlRequest,
) -> Error | GetPortUrlResponse | None:
    """Return a URL by which whoever has it reaches a port of a sandbox over HTTP, until it expires.

     It names one port, and no other one is reached by it. It ends with the orchestrator, too.

    Args:
        id (str):
        body (GetPortUrlRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | GetPortUrlResponse
    """

    return sync_detailed(
        id=id,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    id: str,
    *,
    client: AuthenticatedClient,
    body: GetPortUrlRequest,
) -> Response[Error | GetPortUrlResponse]:
    """Return a URL by which whoever has it reaches a port of a sandbox over HTTP, until it expires.

     It names one port, and no other one is reached by it. It ends with the orchestrator, too.

    Args:
        id (str):
        body (GetPortUrlRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | GetPortUrlResponse]
    """

    kwargs = _get_kwargs(
        id=id,
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    id: str,
    *,
    client: AuthenticatedClient,
    body: GetPortUrlRequest,
) -> Error | GetPortUrlResponse | None:
    """Return a URL by which whoever has it reaches a port of a sandbox over HTTP, until it expires.

     It names one port, and no other one is reached by it. It ends with the orchestrator, too.

    Args:
        id (str):
        body (GetPortUrlRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | GetPortUrlResponse
    """

    return (
        await asyncio_detailed(
            id=id,
            client=client,
            body=body,
        )
    ).parsed
