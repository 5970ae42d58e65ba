"""Running two engines side by side over one stream of commands, to find where they differ.

The left engine's events teach the stream, so that the run is the same whatever the right one does.
Events are compared after every batch, hashes and queries every `check_every` commands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from madang.exchange.engine.port import Engine
from madang.wire.events import split_records
from tests.support.commands import CommandStream, Coverage

Restore = Callable[[bytes], Engine]
STATISTICS = ("orders", "keys", "requests", "accounts", "trades")
DEPTH_LEVELS = 5


class Disagreement(NamedTuple):
    """Where two engines first differed, and how."""

    sequence: int
    what: str
    left: bytes
    right: bytes


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What to run: `restores` are the restorers of the left and the right engine's own kind."""

    seed: int
    count: int
    check_every: int = 5_000
    restores: tuple[Restore, Restore] | None = None


@dataclass(slots=True)
class Run:
    """Two engines in the same state, as long as they agree."""

    settings: RunSettings
    left: Engine
    right: Engine
    coverage: Coverage = field(default_factory=Coverage)

    def disagreement(self) -> Disagreement | None:
        """Return the first difference, or None after all commands."""
        stream = CommandStream(self.settings.seed)
        next_check = self.settings.check_every
        while stream.sequence < self.settings.count:
            batch = stream.batch()
            left, right = self.left.apply(batch), self.right.apply(batch)
            if left != right:
                return _first_difference(self.left.sequence, left, right)
            stream.observe(left)
            self.coverage.add(left)
            if stream.sequence >= next_check:
                next_check += self.settings.check_every
                found = self._compare_states()
                if found is not None:
                    return found
        return self._compare_states()

    def _compare_states(self) -> Disagreement | None:
        left, right = self.left, self.right
        pairs = [("hash", left.state_hash(), right.state_hash())]
        pairs += [
            (name, b"%d" % left.statistics()[name], b"%d" % right.statistics()[name])
            for name in STATISTICS
        ]
        pairs += _queries(left, right)
        for what, one, other in pairs:
            if one != other:
                return Disagreement(left.sequence, what, one, other)
        left.check()
        right.check()
        self._exchange()
        return None

    def _exchange(self) -> None:
        """Let each engine go on from the other's snapshot."""
        if self.settings.restores is not None:
            restore_left, restore_right = self.settings.restores
            left, right = self.left.snapshot(), self.right.snapshot()
            self.left, self.right = restore_left(right), restore_right(left)


def _queries(left: Engine, right: Engine) -> list[tuple[str, bytes, bytes]]:
    pairs = [
        ("instruments", left.instruments(), right.instruments()),
        ("accounts", left.accounts(2, 5), right.accounts(2, 5)),
        ("all accounts", left.accounts(-1, 10**6), right.accounts(-1, 10**6)),
        ("credentials", left.credentials(3, 4), right.credentials(3, 4)),
    ]
    for number in range(12):
        pairs += [
            ("orders", left.orders(number), right.orders(number)),
            ("account", left.account(number) or b"", right.account(number) or b""),
            ("positions", left.positions(number), right.positions(number)),
            ("depth", left.depth(number, DEPTH_LEVELS), right.depth(number, DEPTH_LEVELS)),
        ]
    for order_id in range(1, 200):
        pairs.append(("order", left.order(order_id) or b"", right.order(order_id) or b""))
    return pairs


def _first_difference(sequence: int, left: bytes, right: bytes) -> Disagreement:
    lefts = [left[offset : offset + length] for _, offset, length in split_records(left)]
    rights = [right[offset : offset + length] for _, offset, length in split_records(right)]
    for one, other in zip(lefts, rights, strict=False):
        if one != other:
            return Disagreement(int.from_bytes(one[8:16], "little"), "event", one, other)
    return Disagreement(sequence, "number of events", b"%d" % len(lefts), b"%d" % len(rights))
