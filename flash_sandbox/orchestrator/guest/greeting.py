"""The first connection to a guest agent, by which its runtime has it confine itself."""

from __future__ import annotations

import os
import socket

from .channel import Channel
from .streams import AgentStream, OpenStream, open_stream
from .tasks import agent_errors

__all__ = ["Greeting"]


class Greeting:
    """A connection over a stream that somebody else uses afterwards, from the agent's greeting on."""

    def __init__(self, channel: Channel, stream: OpenStream) -> None:
        self._channel = channel
        self._stream = stream

    @classmethod
    async def over(cls, stream: socket.socket) -> Greeting:
        """Greet the agent at the other end of a socket, which stays open.

        Raises:
            InternalServerError: The agent does not answer as it should.
        """
        descriptor = os.dup(stream.fileno())
        channel = Channel()
        greeting = cls(channel, await open_stream(AgentStream(descriptor, descriptor), channel))
        try:
            with agent_errors():
                await channel.open()
        except BaseException:
            greeting.close()
            raise
        return greeting

    async def confine(self, hostname: str) -> None:
        """Have the agent give up the privileges that its programs may not have, and name the sandbox.

        Raises:
            InternalServerError: The agent does not answer as it should.
        """
        with agent_errors():
            await self._channel.confine(hostname)

    def close(self) -> None:
        """Let go of the stream. Idempotent."""
        self._channel.close()
        self._stream.close()
