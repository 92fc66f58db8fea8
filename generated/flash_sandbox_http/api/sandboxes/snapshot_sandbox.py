from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...models.error import Error
from ...models.snapshot_response import SnapshotResponse
from ...types import UNSET, Response, Unset


def _get_kwargs(
    id: str,
    *,
    name: str | Unset = "",
    labels: list[str] | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["name"] = name

    json_labels: list[str] | Unset = UNSET
    if not isinstance(labels, Unset):
        json_labels = labels

    params["labels"] = json_labels

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/sandboxes/{id}/snapshot".format(
            id=quote(str(id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Error | SnapshotResponse:
    if response.status_code == 200:
        response_200 = SnapshotResponse.from_dict(response.json())

        return response_200

    response_default = Error.from_dict(response.json())

    return response_default


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Error | SnapshotResponse]:
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
    name: str | Unset = "",
    labels: list[str] | Unset = UNSET,
) -> Response[Error | SnapshotResponse]:
    """Freeze a sandbox and write what it holds to a snapshot; the sandbox stays paused.

    Args:
        id (str):
        name (str | Unset):  Default: ''.
        labels (list[str] | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | SnapshotResponse]
    """

    kwargs = _get_kwargs(
        id=id,
        name=name,
        labels=labels,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    id: str,
    *,
    client: AuthenticatedClient,
    name: str | Unset = "",
    labels: list[str] | Unset = UNSET,
) -> Error | SnapshotResponse | None:
    """Freeze a sandbox and write what it holds to a snapshot; the sandbox stays paused.

    Args:
        id (str):
        name (str | Unset):  Default: ''.
        labels (list[str] | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | SnapshotResponse
    """

    return sync_detailed(
        id=id,
        client=client,
        name=name,
        labels=labels,
    ).parsed


async def asyncio_detailed(
    id: str,
    *,
    client: AuthenticatedClient,
    name: str | Unset = "",
    labels: list[str] | Unset = UNSET,
) -> Response[Error | SnapshotResponse]:
    """Freeze a sandbox and write what it holds to a snapshot; the sandbox stays paused.

    Args:
        id (str):
        name (str | Unset):  Default: ''.
        labels (list[str] | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | SnapshotResponse]
    """

    kwargs = _get_kwargs(
        id=id,
        name=name,
        labels=labels,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    id: str,
    *,
    client: AuthenticatedClient,
    name: str | Unset = "",
    labels: list[str] | Unset = UNSET,
) -> Error | SnapshotResponse | None:
    """Freeze a sandbox and write what it holds to a snapshot; the sandbox stays paused.

    Args:
        id (str):
        name (str | Unset):  Default: ''.
        labels (list[str] | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | SnapshotResponse
    """

    return (
        await asyncio_detailed(
            id=id,
            client=client,
            name=name,
            labels=labels,
        )
    ).parsed
