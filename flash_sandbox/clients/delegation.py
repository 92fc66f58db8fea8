"""Objects whose methods are calls of a client, with the IDs that the object knows filled in."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, cast, overload

__all__ = ["Delegate", "async_handle_of", "handle_of", "of_process", "of_sandbox"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

H = TypeVar("H", bound="Delegate")

_SANDBOX: Final = ("sandbox_id",)
_PROCESS: Final = ("sandbox_id", "process_id")
_NO_ARGUMENTS: Final = re.compile(r"^ +Args:\n\s*\n", re.MULTILINE)


class Delegate:
    """An object whose calls are performed by a client.

    Args:
        client: Performs the calls.
        ids: The first arguments of each call.
    """

    _client: Any
    _ids: tuple[str, ...]

    def __init__(self, client: Any, *ids: str) -> None:
        self._client = client
        self._ids = ids


class Method(Protocol[P, R_co]):
    """What a type checker sees of a function in a class."""

    @overload
    def __get__(self, instance: None, owner: type, /) -> Callable[Concatenate[Any, P], R_co]: ...
    @overload
    def __get__(self, instance: Delegate, owner: type | None = None, /) -> Callable[P, R_co]: ...


def of_sandbox(call: Callable[Concatenate[Any, str, P], R]) -> Method[P, R]:
    """Return a client's call as a method of a `Delegate` that knows the ID of the sandbox."""
    return cast("Method[P, R]", _method(call, _SANDBOX))


def of_process(call: Callable[Concatenate[Any, str, str, P], R]) -> Method[P, R]:
    """Return a client's call as a method of a `Delegate` that knows the IDs of sandbox and process."""
    return cast("Method[P, R]", _method(call, _PROCESS))


def handle_of(call: Callable[Concatenate[Any, str, P], str], kind: type[H]) -> Method[P, H]:
    """Do as `of_sandbox` for a call that returns an ID; the method returns a `kind` that knows it, too."""
    return cast("Method[P, H]", _returning(kind, _method(call, _SANDBOX)))


def async_handle_of(
    call: Callable[Concatenate[Any, str, P], Coroutine[Any, Any, str]], kind: type[H]
) -> Method[P, Coroutine[Any, Any, H]]:
    """Do the same for a coroutine function."""
    return cast("Method[P, Coroutine[Any, Any, H]]", _returning(kind, _method(call, _SANDBOX)))


def _method(call: Callable[..., Any], known: tuple[str, ...]) -> Callable[..., Any]:
    name = call.__name__

    def perform(self: Delegate, *arguments: Any, **options: Any) -> Any:
        return getattr(self._client, name)(*self._ids, *arguments, **options)

    async def perform_async(self: Delegate, *arguments: Any, **options: Any) -> Any:
        return await perform(self, *arguments, **options)

    method: Any = perform_async if inspect.iscoroutinefunction(call) else perform
    signature = inspect.signature(call)
    parameters = [each for each in signature.parameters.values() if each.name not in known]
    method.__signature__ = signature.replace(parameters=parameters)
    method.__annotations__ = {each: hint for each, hint in call.__annotations__.items() if each not in known}
    # Where the names in the annotations are looked up.
    method.__wrapped__ = call
    method.__name__ = method.__qualname__ = name
    method.__doc__ = _without(known, call.__doc__)
    return cast("Callable[..., Any]", method)


def _returning(kind: type[Delegate], method: Any) -> Callable[..., Any]:
    def perform(self: Delegate, *arguments: Any, **options: Any) -> Delegate:
        return kind(self._client, *self._ids, method(self, *arguments, **options))

    async def perform_async(self: Delegate, *arguments: Any, **options: Any) -> Delegate:
        return kind(self._client, *self._ids, await method(self, *arguments, **options))

    started: Any = update_wrapper(perform_async if inspect.iscoroutinefunction(method) else perform, method)
    started.__signature__ = method.__signature__.replace(return_annotation=kind)
    started.__annotations__ = {**method.__annotations__, "return": kind}
    started.__doc__ = method.__doc__ and method.__doc__.replace("its process ID", "a handle of it")
    return cast("Callable[..., Any]", started)


def _without(known: tuple[str, ...], doc: str | None) -> str | None:
    """Return a docstring without what it says of these arguments."""
    lines = rf"^ +({'|'.join(known)}): .*\n"
    return doc and _NO_ARGUMENTS.sub("", re.sub(lines, "", doc, flags=re.MULTILINE))
