from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...models.error import Error
from ...models.get_metrics_history_response import GetMetricsHistoryResponse
from ...types import UNSET, Response, Unset


def _get_kwargs(
    id: str,
    *,
    since_ms: int | Unset = 0,
    max_points: int | Unset = 0,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["since_ms"] = since_ms

    params["max_points"] = max_points

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/sandboxes/{id}/metrics/history".format(
            id=quote(str(id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Error | GetMetricsHistoryResponse:
    if response.status_code == 200:
        response_200 = GetMetricsHistoryResponse.from_dict(response.json())

        return response_200

    response_default = Error.from_dict(response.json())

    return response_default


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Error | GetMetricsHistoryResponse]:
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
    since_ms: int | Unset = 0,
    max_points: int | Unset = 0,
) -> Response[Error | GetMetricsHistoryResponse]:
    """Return what a sandbox has used in the last hour, as the orchestrator sampled it, the oldest first.

     A sandbox that was asked about in the last minute is sampled every 5 seconds. All others together
    are sampled 5 times a second at most, each every 5 seconds at most, so that many idle ones take less
    than 0.3 % of a core: 100 have a sample every 20 seconds each, 1,000 every 200. At most 720 samples
    of 72 bytes are kept of each, none longer than an hour, and none where the orchestrator was started
    anew.

    Args:
        id (str):
        since_ms (int | Unset):  Default: 0.
        max_points (int | Unset):  Default: 0.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | GetMetricsHistoryResponse]
    """

    kwargs = _get_kwargs(
        id=id,
        since_ms=since_ms,
        max_points=max_points,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    id: str,
    *,
    client: AuthenticatedClient,
    since_ms: int | Unset = 0,
    max_points: int | Unset = 0,
) -> Error | GetMetricsHistoryResponse | None:
    """Return what a sandbox has used in the last hour, as the orchestrator sampled it, the oldest first.

     A sandbox that was asked about in the last minute is sampled every 5 seconds. All others together
    are sampled 5 times a second at most, each every 5 seconds at most, so that many idle ones take less
    than 0.3 % of a core: 100 have a sample every 20 seconds each, 1,000 every 200. At most 720 samples
    of 72 bytes are kept of each, none longer than an hour, and none where the orchestrator was started
    anew.

    Args:
        id (str):
        since_ms (int | Unset):  Default: 0.
        max_points (int | Unset):  Default: 0.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | GetMetricsHistoryResponse
    """

    return sync_detailed(
        id=id,
        client=client,
        since_ms=since_ms,
        max_points=max_points,
    ).parsed


async def asyncio_detailed(
    id: str,
    *,
    client: AuthenticatedClient,
    since_ms: int | Unset = 0,
    max_points: int | Unset = 0,
) -> Response[Error | GetMetricsHistoryResponse]:
    """Return what a sandbox has used in the last hour, as the orchestrator sampled it, the oldest first.

     A sandbox that was asked about in the last minute is sampled every 5 seconds. All others together
    are sampled 5 times a second at most, each every 5 seconds at most, so that many idle ones take less
    than 0.3 % of a core: 100 have a sample every 20 seconds each, 1,000 every 200. At most 720 samples
    of 72 bytes are kept of each, none longer than an hour, and none where the orchestrator was started
    anew.

    Args:
        id (str):
        since_ms (int | Unset):  Default: 0.
        max_points (int | Unset):  Default: 0.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | GetMetricsHistoryResponse]
    """

    kwargs = _get_kwargs(
        id=id,
        since_ms=since_ms,
        max_points=max_points,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    id: str,
    *,
    client: AuthenticatedClient,
    since_ms: int | Unset = 0,
    max_points: int | Unset = 0,
) -> Error | GetMetricsHistoryResponse | None:
    """Return what a sandbox has used in the last hour, as the orchestrator sampled it, the oldest first.

     A sandbox that was asked about in the last minute is sampled every 5 seconds. All others together
    are sampled 5 times a second at most, each every 5 seconds at most, so that many idle ones take less
    than 0.3 % of a core: 100 have a sample every 20 seconds each, 1,000 every 200. At most 720 samples
    of 72 bytes are kept of each, none longer than an hour, and none where the orchestrator was started
    anew.

    Args:
        id (str):
        since_ms (int | Unset):  Default: 0.
        max_points (int | Unset):  Default: 0.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | GetMetricsHistoryResponse
    """

    return (
        await asyncio_detailed(
            id=id,
            client=client,
            since_ms=since_ms,
            max_points=max_points,
        )
    ).parsed
