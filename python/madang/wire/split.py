"""Sorting the events of one batch by who waits for them.

The venue answers each command with its RESULT, and tells each account what happened to its orders;
all other events are read by those who follow the log. The compiled engine has the same function
(`madang_core.split_events`), and a test compares the two.
"""

from __future__ import annotations

from typing import NamedTuple

from madang.wire.events import EventKind, split_records


class SplitEvents(NamedTuple):
    """`results` in the order of the commands; ORDER events joined, by account, ascending."""

    results: list[bytes]
    orders: list[tuple[int, bytes]]


def split_events(events: bytes) -> SplitEvents:
    """Return the RESULT records, and the ORDER events of each account that has any."""
    results: list[bytes] = []
    by_account: dict[int, list[bytes]] = {}
    for kind, offset, length in split_records(events):
        if kind == EventKind.RESULT:
            results.append(events[offset : offset + length])
        elif kind == EventKind.ORDER:
            account = int.from_bytes(events[offset + 4 : offset + 8], "little")
            by_account.setdefault(account, []).append(events[offset : offset + length])
    orders = [(account, b"".join(by_account[account])) for account in sorted(by_account)]
    return SplitEvents(results, orders)
