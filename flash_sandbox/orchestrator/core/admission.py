"""What the operator lets every start have: which network, how long a sandbox lives, how many there may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...errors import AtCapacityError, InvalidArgumentError, NetworkRefusedError
from ...models import MAX_TTL_SECONDS, NETWORKS, NetworkMode, StartRequest

__all__ = ["Admission"]

_RETRY_AFTER_SECONDS: Final = 1.0
# Which network reaches further.
_REACH: Final = {"": 0, "none": 0, "policy": 1, "bridge": 2, "open": 2}


@dataclass(frozen=True, slots=True)
class Admission:
    """What is admitted.

    Attributes:
        default_network: Network of a sandbox whose start names none.
        max_ttl: Most seconds until a sandbox expires; None for no limit.
        default_ttl: Seconds that a sandbox has whose start asks for none, anew from each use of it; 0 for
            `max_ttl`, once.
        max_sandboxes: Most sandboxes that there may be, those that are being created or are kept after their
            end among them; None for no limit.
        max_network: The network that reaches furthest of those that starts may ask for: ``none``, ``policy``,
            or ``bridge``, also called ``open``.

    Raises:
        ValueError: A limit is out of range, or starts would have a network that they may not ask for.
    """

    default_network: NetworkMode = "none"
    max_ttl: float | None = None
    max_sandboxes: int | None = None
    max_network: NetworkMode = "bridge"
    default_ttl: float = 0.0

    def __post_init__(self) -> None:
        if self.max_network not in NETWORKS:
            raise ValueError(f"a network is one of {', '.join(NETWORKS)}, not {self.max_network!r}")
        if self.default_network == "policy":
            raise ValueError("a policy says what may be reached: it cannot be the default")
        if not self._admits(self.default_network):
            raise ValueError(f"no start may ask for that network, but {self.default_network} is the default")
        if self.max_ttl is not None and not 0 < self.max_ttl <= MAX_TTL_SECONDS:
            raise ValueError(f"the longest TTL must be above 0 and at most {MAX_TTL_SECONDS:.0f} seconds")
        if not 0 <= self.default_ttl <= MAX_TTL_SECONDS:
            raise ValueError(f"the default TTL must be 0 to {MAX_TTL_SECONDS:.0f} seconds")
        if self.max_sandboxes is not None and self.max_sandboxes < 1:
            raise ValueError("there must be room for at least 1 sandbox")

    def require_network(self, network: str) -> None:
        """Raise NetworkRefusedError where the operator lets no sandbox have that network."""
        if not self._admits(network):
            raise NetworkRefusedError(
                f"this orchestrator gives no sandbox a {network} network; its operator may allow it with "
                f"--max-network {network}",
            )

    def require_use(self, request: StartRequest) -> None:
        """Raise InvalidArgumentError where nothing would use a start's secrets."""
        if request.secrets and request.network != "policy":
            raise InvalidArgumentError(
                f"secrets need a network policy, whose gate uses them; the network is {request.network}"
            )

    def _admits(self, network: str) -> bool:
        return _REACH[network] <= _REACH[self.max_network]

    def require_ttl(self, ttl_seconds: float) -> None:
        """Raise InvalidArgumentError where that is longer than a sandbox may live."""
        if self.max_ttl is not None and ttl_seconds > self.max_ttl:
            raise InvalidArgumentError(
                f"ttl_seconds must be at most {self.max_ttl:g} on this orchestrator, not {ttl_seconds:g}"
            )

    def require_room(self, sandboxes: int) -> None:
        """Raise AtCapacityError where there is no room for one more sandbox than there are."""
        room = self.room(sandboxes)
        if room is not None and room < 1:
            raise AtCapacityError(
                f"this orchestrator runs at most {self.max_sandboxes} sandboxes at a time",
                retry_after=_RETRY_AFTER_SECONDS,
            )

    def room(self, sandboxes: int) -> int | None:
        """Return for how many sandboxes there is room besides those that there are; None for no limit."""
        return None if self.max_sandboxes is None else self.max_sandboxes - sandboxes

    def ttl(self, asked: float) -> float:
        """Return how many seconds a sandbox lives whose start asks for so many; 0 for without end."""
        return asked or min(filter(None, (self.default_ttl, self.max_ttl)), default=0.0)

    def renewed(self, asked: float) -> float:
        """Return how many seconds each use gives a sandbox whose start asks for so many; 0 for none."""
        return 0.0 if asked or self.ttl(asked) == self.max_ttl else self.default_ttl
