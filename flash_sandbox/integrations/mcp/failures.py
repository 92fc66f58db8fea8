"""What a model is told of a call that failed: the reason, and what to do next."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

from mcp.server.mcpserver.exceptions import ToolError

from ...errors import Reason, SandboxError

__all__ = ["NEXT_STEPS", "told"]

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

_OPERATOR: Final = "Ask the user, who runs the orchestrator."
_ARGUMENT: Final = "Correct the argument, and call again."
_LATER: Final = "Call again in a few seconds."

NEXT_STEPS: Final[dict[str, str]] = {
    Reason.INVALID_ARGUMENT: _ARGUMENT,
    Reason.UNKNOWN_RUNTIME: "Leave `type` out to have the best runtime of the host.",
    Reason.IMAGE_NOT_FOUND: "Correct the name of the image, or leave `image` out.",
    Reason.SNAPSHOT_REFUSED: "Take a path that list_snapshots tells.",
    Reason.START_FAILED: "Try another image or runtime.",
    Reason.UNAUTHENTICATED: "Ask the user to set FLASH_SANDBOX_API_KEY for this MCP server.",
    Reason.PERMISSION_DENIED: _OPERATOR,
    Reason.FILE_DENIED: "Use another path, or change the permissions by run_command.",
    Reason.NETWORK_REFUSED: _OPERATOR,
    Reason.ORIGIN_REFUSED: _OPERATOR,
    Reason.NOT_FOUND: "Ask the user whether this is the address of an orchestrator.",
    Reason.SANDBOX_NOT_FOUND: "It was stopped or has expired: call list_sandboxes or create_sandbox.",
    Reason.PROCESS_NOT_FOUND: "Call list_processes.",
    Reason.FILE_NOT_FOUND: "Call list_files or search_files.",
    Reason.METHOD_NOT_ALLOWED: _OPERATOR,
    Reason.CONFLICT: "Call get_sandbox to see its state.",
    Reason.WRONG_STATE: "Call get_sandbox or list_processes to see its state.",
    Reason.SANDBOX_ENDED: "Call create_sandbox; a limit of memory may have to be higher.",
    Reason.FILE_CONFLICT: "Call list_files to see what is at the path.",
    Reason.FILE_EXISTS: "Use another path.",
    Reason.ALREADY_EXISTS: "Use another name, or list_sandboxes to find the sandbox that has it.",
    Reason.ABORTED: _LATER,
    Reason.EVENTS_MISSED: _LATER,
    Reason.TOO_LARGE: "Take a part of it by run_command, such as with head, tail or sed -n.",
    Reason.AT_CAPACITY: "Stop sandboxes that are not needed by stop_sandbox, or call again later.",
    Reason.CANCELLED: _LATER,
    Reason.INTERNAL: _OPERATOR,
    Reason.UNSUPPORTED: "Use another image or runtime, or another tool.",
    Reason.RUNTIME_UNAVAILABLE: "Leave `type` out, or ask the user to run `fsb doctor`.",
    Reason.UNAVAILABLE: _LATER,
    Reason.DEADLINE_EXCEEDED: "Give a longer timeout_seconds, or use start_process.",
    Reason.CONNECTION_FAILED: "Ask the user whether the orchestrator runs.",
    Reason.OUTCOME_UNKNOWN: "See whether it was done before calling again.",
    Reason.BAD_RESPONSE: "Ask the user whether this is the address of an orchestrator.",
    Reason.CLIENT_CLOSED: "Ask the user to start this MCP server again.",
    Reason.COMMAND_FAILED: "Read what it printed.",
    Reason.PORT_CLOSED: "Start what listens there by start_process, or wait until it does.",
}
"""What to do next, by the reason of the error."""


def told(tool: Callable[_Given, Awaitable[_Result]]) -> Callable[_Given, Awaitable[_Result]]:
    """Return a tool whose failures are told to the model."""

    @functools.wraps(tool)
    async def call(*given: _Given.args, **named: _Given.kwargs) -> _Result:
        try:
            return await tool(*given, **named)
        except SandboxError as error:
            step = NEXT_STEPS.get(error.reason, _OPERATOR)
            raise ToolError(f"{error.reason}: {error}. Next: {step}") from error

    return call
