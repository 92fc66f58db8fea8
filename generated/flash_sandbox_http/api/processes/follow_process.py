from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...models.error import Error
from ...types import UNSET, File, Response, Unset


def _get_kwargs(
    id: str,
    process_id: str,
    *,
    offset: int | Unset = 0,
    no_follow: bool | Unset = False,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["offset"] = offset

    params["no_follow"] = no_follow

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/sandboxes/{id}/processes/{process_id}/output".format(
            id=quote(str(id), safe=""),
            process_id=quote(str(process_id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(*, client: AuthenticatedClient | Client, response: httpx.Response) -> Error | File:
    if response.status_code == 200:
        response_200 = File(payload=BytesIO(response.content))

        return response_200

    response_default = Error.from_dict(response.json())

    return response_default


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Error | File]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    id: str,
    process_id: str,
    *,
    client: AuthenticatedClient,
    offset: int | Unset = 0,
    no_follow: bool | Unset = False,
) -> Response[Error | File]:
    """Tell what is kept of a process's output, and what it prints from then on until it ends.

     The last frame tells how it ended.

    Args:
        id (str):
        process_id (str):
        offset (int | Unset):  Default: 0.
        no_follow (bool | Unset):  Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | File]
    """

    kwargs = _get_kwargs(
        id=id,
        process_id=process_id,
        offset=offset,
        no_follow=no_follow,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    id: str,
    process_id: str,
    *,
    client: AuthenticatedClient,
    offset: int | Unset = 0,
    no_follow: bool | Unset = False,
) -> Error | File | None:
    """Tell what is kept of a process's output, and what it prints from then on until it ends.

     The last frame tells how it ended.

    Args:
        id (str):
        process_id (str):
        offset (int | Unset):  Default: 0.
        no_follow (bool | Unset):  Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | File
    """

    return sync_detailed(
        id=id,
        process_id=process_id,
        client=client,
        offset=offset,
        no_follow=no_follow,
    ).parsed


async def asyncio_detailed(
    id: str,
    process_id: str,
    *,
    client: AuthenticatedClient,
    offset: int | Unset = 0,
    no_follow: bool | Unset = False,
) -> Response[Error | File]:
    """Tell what is kept of a process's output, and what it prints from then on until it ends.

     The last frame tells how it ended.

    Args:
        id (str):
        process_id (str):
        offset (int | Unset):  Default: 0.
        no_follow (bool | Unset):  Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | File]
    """

    kwargs = _get_kwargs(
        id=id,
        process_id=process_id,
        offset=offset,
        no_follow=no_follow,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    id: str,
    process_id: str,
    *,
    client: AuthenticatedClient,
    offset: int | Unset = 0,
    no_follow: bool | Unset = False,
) -> Error | File | None:
    """Tell what is kept of a process's output, and what it prints from then on until it ends.

     The last frame tells how it ended.

    Args:
        id (str):
        process_id (str):
        offset (int | Unset):  Default: 0.
        no_follow (bool | Unset):  Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | File
    """

    return (
        await asyncio_detailed(
            id=id,
            process_id=process_id,
            client=client,
            offset=offset,
            no_follow=no_follow,
        )
    ).parsed
