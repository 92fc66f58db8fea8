"""What the main process of a sandbox is."""

from __future__ import annotations

from ...errors import InvalidArgumentError, Reason
from ...models import StartRequest
from .manifests import ImageConfig

__all__ = ["main_command"]


def main_command(request: StartRequest, config: ImageConfig) -> tuple[str, ...]:
    """Return the command of the main process; empty where the sandbox idles.

    Whether an image's own command stays cannot be told: so it runs only where it is asked for.

    Args:
        request: What the start asks for.
        config: How the image wants to be run.

    Raises:
        InvalidArgumentError: The image's own command is asked for, and it has none.
    """
    if not request.image_command:
        return request.command
    if not config.command:
        raise InvalidArgumentError("the image has no command of its own", reason=Reason.START_FAILED)
    return config.command
