"""Moving connections between two processes: the supervisor only introduces them to each other.

Each gets one end of a socket pair; what they say over it is their own affair. Both tell when they
are done; a role without handlers says so at once, and then simply drains.
"""

from __future__ import annotations

from collections.abc import Sequence

from madang.cluster import channel
from madang.cluster.application import Child
from madang.cluster.operations import Operation, Procedure, until
from madang.cluster.policy import MS

Pair = tuple[Child, Child]


def move(operation: Operation, pairs: Sequence[Pair], limit_ms: int) -> Procedure:
    """Let each first of a pair give its connections to the second, within a limit."""
    moving = [(giver, taker) for giver, taker in pairs if giver.channel and taker.channel]
    if not moving:
        return
    operation.say("moving connections")
    for child in {child for pair in moving for child in pair}:
        child.handing_over = 0
    for giver, taker in moving:
        _introduce(giver, taker)
    children = [child for pair in moving for child in pair]

    def moved() -> bool:
        return all(child.handing_over <= 0 or child.pid is None for child in children)

    yield until(moved, limit_ms * MS)
    if not moved():
        operation.say(f"not all have moved within {limit_ms} ms: the rest is closed")


def _introduce(giver: Child, taker: Child) -> None:
    one, two = channel.pair()
    with one, two:
        for child, way, end in ((giver, "give", one), (taker, "take", two)):
            if child.tell({"kind": "hand_over", "way": way}, [end.fileno()]):
                child.handing_over += 1
