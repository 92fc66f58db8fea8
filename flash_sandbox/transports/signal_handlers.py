"""Exceptions that the program's own signal handlers raise during a call: they are not failures of the call.

A handler of SIGALRM that raises TimeoutError is a usual way to bound what takes no time-out of its own.
"""

from __future__ import annotations

import signal
import threading
from functools import partial
from types import CodeType, TracebackType
from typing import NoReturn

__all__ = ["handlers_exception", "raised_by_handler", "reraise"]


def raised_by_handler(error: BaseException) -> bool:
    """Tell whether a signal handler of the program has raised `error`."""
    # Python runs handlers in its main thread alone.
    if threading.current_thread() is not threading.main_thread():
        return False
    return _passed_through(error.__traceback__, _handlers())


def handlers_exception(error: BaseException, handled: BaseException | None) -> BaseException | None:
    """Return what a signal handler has raised, where `error` is that or was caused by it; else None.

    Args:
        error: What ended a step of a call.
        handled: What the caller was handling already when the call began: it is the cause of nothing here.
    """
    found: BaseException | None = error
    while found is not None and found is not handled:
        if raised_by_handler(found):
            return found
        found = found.__cause__ or found.__context__
    return None


def reraise(error: BaseException) -> NoReturn:
    """Raise once more, while what `error` has caused is handled, as if that had not happened."""
    context = error.__context__
    try:
        raise error
    finally:
        # Else it would be caused by what it has caused.
        error.__context__ = context


def _handlers() -> set[CodeType]:
    """Return the code of every handler that is installed."""
    found = set()
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        while isinstance(handler, partial):
            handler = handler.func
        # A function, a method, or an object that can be called.
        for function in (handler, vars(type(handler)).get("__call__")):
            code = getattr(getattr(function, "__func__", function), "__code__", None)
            if isinstance(code, CodeType):
                found.add(code)
    return found


def _passed_through(traceback: TracebackType | None, handlers: set[CodeType]) -> bool:
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False
