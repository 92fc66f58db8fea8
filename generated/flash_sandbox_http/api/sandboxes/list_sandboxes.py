from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...models.error import Error
from ...models.list_sandboxes_response import ListSandboxesResponse
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    status: str | Unset = "",
    type_: str | Unset = "",
    labels: list[str] | Unset = UNSET,
    page_size: int | Unset = 0,
    page_token: str | Unset = "",
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["status"] = status

    params["type"] = type_

    json_labels: list[str] | Unset = UNSET
    if not isinstance(labels, Unset):
        json_labels = labels

    params["labels"] = json_labels

    params["page_size"] = page_size

    params["page_token"] = page_token

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/sandboxes",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Error | ListSandboxesResponse:
    if response.status_code == 200:
        response_200 = ListSandboxesResponse.from_dict(response.json())

        return response_200

    response_default = Error.from_dict(response.json())

    return response_default


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Error | ListSandboxesResponse]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    status: str | Unset = "",
    type_: str | Unset = "",
    labels: list[str] | Unset = UNSET,
    page_size: int | Unset = 0,
    page_token: str | Unset = "",
) -> Response[Error | ListSandboxesResponse]:
    """Return a page of the sandboxes that there are, the oldest first.

    Args:
        status (str | Unset):  Default: ''.
        type_ (str | Unset):  Default: ''.
        labels (list[str] | Unset):
        page_size (int | Unset):  Default: 0.
        page_token (str | Unset):  Default: ''.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | ListSandboxesResponse]
    """

    kwargs = _get_kwargs(
        status=status,
        type_=type_,
        labels=labels,
        page_size=page_size,
        page_token=page_token,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    status: str | Unset = "",
    type_: str | Unset = "",
    labels: list[str] | Unset = UNSET,
    page_size: int | Unset = 0,
    page_token: str | Unset = "",
) -> Error | ListSandboxesResponse | None:
    """Return a page of the sandboxes that there are, the oldest first.

    Args:
        status (str | Unset):  Default: ''.
        type_ (str | Unset):  Default: ''.
        labels (list[str] | Unset):
        page_size (int | Unset):  Default: 0.
        page_token (str | Unset):  Default: ''.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | ListSandboxesResponse
    """

    return sync_detailed(
        client=client,
        status=status,
        type_=type_,
        labels=labels,
        page_size=page_size,
        page_token=page_token,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    status: str | Unset = "",
    type_: str | Unset = "",
    labels: list[str] | Unset = UNSET,
    page_size: int | Unset = 0,
    page_token: str | Unset = "",
) -> Response[Error | ListSandboxesResponse]:
    """Return a page of the sandboxes that there are, the oldest first.

    Args:
        status (str | Unset):  Default: ''.
        type_ (str | Unset):  Default: ''.
        labels (list[str] | Unset):
        page_size (int | Unset):  Default: 0.
        page_token (str | Unset):  Default: ''.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | ListSandboxesResponse]
    """

    kwargs = _get_kwargs(
        status=status,
        type_=type_,
        labels=labels,
        page_size=page_size,
        page_token=page_token,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    status: str | Unset = "",
    type_: str | Unset = "",
    labels: list[str] | Unset = UNSET,
    page_size: int | Unset = 0,
    page_token: str | Unset = "",
) -> Error | ListSandboxesResponse | None:
    """Return a page of the sandboxes that there are, the oldest first.

    Args:
        status (str | Unset):  Default: ''.
        type_ (str | Unset):  Default: ''.
        labels (list[str] | Unset):
        page_size (int | Unset):  Default: 0.
        page_token (str | Unset):  Default: ''.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | ListSandboxesResponse
    """

    return (
        await asyncio_detailed(
            client=client,
            status=status,
            type_=type_,
            labels=labels,
            page_size=page_size,
            page_token=page_token,
        )
    ).parsed
