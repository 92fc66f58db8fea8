from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...models.error import Error
from ...types import UNSET, File, Response, Unset


def _get_kwargs(
    id: str,
    connection_id: str,
    *,
    body: File,
    end: bool | Unset = False,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    params: dict[str, Any] = {}

    params["end"] = end

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "put",
        "url": "/sandboxes/{id}/connections/{connection_id}".format(
            id=quote(str(id), safe=""),
            connection_id=quote(str(connection_id), safe=""),
        ),
        "params": params,
    }

    _kwargs["content"] = body.payload
    headers["Content-Type"] = "application/octet-stream"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(*, client: AuthenticatedClient | Client, response: httpx.Response) -> Any | Error:
    if response.status_code == 204:
        response_204 = cast(Any, None)
        return response_204

    response_default = Error.from_dict(response.json())

    return response_default


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Any | Error]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    id: str,
    connection_id: str,
    *,
    client: AuthenticatedClient,
    body: File,
    end: bool | Unset = False,
) -> Response[Any | Error]:
    """Send bytes over a connection that connect_port has made.

     Over gRPC the first message alone says over which.

    Args:
        id (str):
        connection_id (str):
        end (bool | Unset):  Default: False.
        body (File):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | Error]
    """

    kwargs = _get_kwargs(
        id=id,
        connection_id=connection_id,
        body=body,
        end=end,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    id: str,
    connection_id: str,
    *,
    client: AuthenticatedClient,
    body: File,
    end: bool | Unset = False,
) -> Any | Error | None:
    """Send bytes over a connection that connect_port has made.

     Over gRPC the first message alone says over which.

    Args:
        id (str):
        connection_id (str):
        end (bool | Unset):  Default: False.
        body (File):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | Error
    """

    return sync_detailed(
        id=id,
        connection_id=connection_id,
        client=client,
        body=body,
        end=end,
    ).parsed


async def asyncio_detailed(
    id: str,
    connection_id: str,
    *,
    client: AuthenticatedClient,
    body: File,
    end: bool | Unset = False,
) -> Response[Any | Error]:
    """Send bytes over a connection that connect_port has made.

     Over gRPC the first message alone says over which.

    Args:
        id (str):
        connection_id (str):
        end (bool | Unset):  Default: False.
        body (File):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | Error]
    """

    kwargs = _get_kwargs(
        id=id,
        connection_id=connection_id,
        body=body,
        end=end,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    id: str,
    connection_id: str,
    *,
    client: AuthenticatedClient,
    body: File,
    end: bool | Unset = False,
) -> Any | Error | None:
    """Send bytes over a connection that connect_port has made.

     Over gRPC the first message alone says over which.

    Args:
        id (str):
        connection_id (str):
        end (bool | Unset):  Default: False.
        body (File):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | Error
    """

    return (
        await asyncio_detailed(
            id=id,
            connection_id=connection_id,
            client=client,
            body=body,
            end=end,
        )
    ).parsed
