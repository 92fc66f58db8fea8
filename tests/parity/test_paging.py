"""Pages of sandboxes, whatever comes and goes between them: random histories, held to what must be seen."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from flash_sandbox.models import ListSandboxesRequest, StartRequest
from flash_sandbox.orchestrator.core.admission import Admission
from flash_sandbox.orchestrator.core.listing import ListingOperations
from flash_sandbox.orchestrator.core.sandboxes import Sandbox
from flash_sandbox.orchestrator.runtimes.base import Runtime
from flash_sandbox.orchestrator.snapshots.store import Snapshots
from flash_sandbox.orchestrator.state.database import Database

LABELS = ("tier=a", "tier=b")


class Nothing:
    """What is listed is not looked into."""

    name = "bubblewrap"


@dataclass
class History:
    """Sandboxes that come and go while they are listed."""

    service: ListingOperations = field(
        default_factory=lambda: ListingOperations(Snapshots(Path("/nowhere")), Admission(), Database(), 60.0)
    )
    ids: list[str] = field(default_factory=list)

    def come(self, age: float, label: int) -> None:
        """Add one; the clock may have been set back, or two may have come at the same moment."""
        request = StartRequest(labels=(LABELS[label],))
        sandbox = Sandbox(cast(Runtime, Nothing()), request, self.service.events, created_at=1.7e9 - age)
        self.service.registry.add(sandbox)
        self.ids.append(sandbox.id)

    def go(self, number: int) -> None:
        """Remove one, if there is any."""
        if self.ids:
            sandbox_id = self.ids.pop(number % len(self.ids))
            self.service.registry.remove(self.service.registry.get(sandbox_id))

    def matching(self, label: str) -> set[str]:
        """Return those that there are and that have a label."""
        registry = self.service.registry
        return {one for one in self.ids if label in registry.get(one).request.labels}


ages = st.sampled_from([0.0, 0.0, 1e-6, 1.0, 3600.0])
comings = st.tuples(ages, st.sampled_from([0, 0, 1]))
changes = st.lists(comings | st.integers(0, 30), max_size=4)


@given(st.lists(comings, max_size=12), st.lists(changes, max_size=12), st.integers(1, 5))
@example([(0.0, 0)] * 6, [[0], [1], [2]], 2)
def test_who_stays_is_seen_once_and_nobody_twice(
    before: list[tuple[float, int]], between: list[list[Any]], page_size: int
) -> None:
    history = History()
    for coming in before:
        history.come(*coming)
    stayed = history.matching(LABELS[0])
    seen: list[str] = []
    token, more = "", True
    steps = iter(between)
    while more:
        request = ListSandboxesRequest(labels=(LABELS[0],), page_size=page_size, page_token=token)
        answer = asyncio.run(history.service.list_sandboxes(request))
        assert len(answer.sandboxes) == page_size or not answer.next_page_token
        assert all(info.labels == (LABELS[0],) for info in answer.sandboxes)
        seen += [info.id for info in answer.sandboxes]
        token = answer.next_page_token
        more = bool(token)
        for change in next(steps, []):
            if isinstance(change, int):
                history.go(change)
                stayed &= history.matching(LABELS[0])
            else:
                history.come(*change)
    assert len(seen) == len(set(seen))
    assert stayed <= set(seen)
