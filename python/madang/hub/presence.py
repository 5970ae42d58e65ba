"""How many connections listen to a channel over all workers. Pure.

Each worker says its own counts where they changed (`Hub.take_presence_changes`) and all of them to
a worker that has come (`Hub.presence`); whoever wants sums keeps a `PresenceTotals` of what
each worker said. Invariant: a total is the sum of the last word of every worker that is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class PresenceTotals:
    """Sums of the counts that workers report."""

    def __init__(self) -> None:
        self._by_worker: dict[str, dict[str, int]] = {}
        self._totals: Counter[str] = Counter()

    def report(self, worker: str, counts: Mapping[str, int]) -> None:
        """Take a worker's counts of the channels that changed; 0 is nobody."""
        known = self._by_worker.setdefault(worker, {})
        for channel, count in counts.items():
            self._add(channel, count - known.pop(channel, 0))
            if count:
                known[channel] = count

    def forget(self, worker: str) -> None:
        """Count a worker that is gone out."""
        for channel, count in self._by_worker.pop(worker, {}).items():
            self._add(channel, -count)

    def total(self, channel: str) -> int:
        """Return how many connections of all workers listen to a channel."""
        return self._totals[channel]

    def totals(self) -> Mapping[str, int]:
        """Return the total of every channel that somebody listens to."""
        return self._totals

    def _add(self, channel: str, change: int) -> None:
        self._totals[channel] += change
        if not self._totals[channel]:
            del self._totals[channel]
