from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...models.error import Error
from ...models.start_process_request import StartProcessRequest
from ...models.start_process_response import StartProcessResponse
from ...types import Response


def _get_kwargs(
    id: str,
    *,
    body: StartProcessRequest,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/sandboxes/{id}/processes".format(
            id=quote(str(id), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Error | StartProcessResponse:
    if response.status_code == 201:
        response_201 = StartProcessResponse.from_dict(response.json())

        return response_201

    response_default = Error.from_dict(response.json())

    return response_default


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Error | StartProcessResponse]:
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
    body: StartProcessRequest,
) -> Response[Error | StartProcessResponse]:
    """Start a command in a running sandbox that goes on by itself, and return its process ID.

     It ends with the sandbox. The last MiB of its output is kept for wait_process and follow_process.

    Args:
        id (str):
        body (StartProcessRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | StartProcessResponse]
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
    body: StartProcessRequest,
) -> Error | StartProcessResponse | None:
    """Start a command in a running sandbox that goes on by itself, and return its process ID.

     It ends with the sandbox. The last MiB of its output is kept for wait_process and follow_process.

    Args:
        id (str):
        body (StartProcessRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | StartProcessResponse
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
    body: StartProcessRequest,
) -> Response[Error | StartProcessResponse]:
    """Start a command in a running sandbox that goes on by itself, and return its process ID.

     It ends with the sandbox. The last MiB of its output is kept for wait_process and follow_process.

    Args:
        id (str):
        body (StartProcessRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | StartProcessResponse]
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
    body: StartProcessRequest,
) -> Error | StartProcessResponse | None:
    """Start a command in a running sandbox that goes on by itself, and return its process ID.

     It ends with the sandbox. The last MiB of its output is kept for wait_process and follow_process.

    Args:
        id (str):
        body (StartProcessRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | StartProcessResponse
    """

    return (
        await asyncio_detailed(
            id=id,
            client=client,
            body=body,
        )
    ).parsed
