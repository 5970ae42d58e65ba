"""What goes to whom of the events of one batch: results to askers, order events to accounts.

One pass over the bytes; records are copied, not decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from madang.wire.codes import Reason
from madang.wire.commands import HEADER as COMMAND_HEADER
from madang.wire.events import (
    HEADER,
    HEADER_BYTES,
    RECORD_HEADER,
    RECORD_HEADER_BYTES,
    RESULT_BODY,
    RESULT_BODY_BYTES,
    EventKind,
)

EVENTS_MESSAGE_BYTES_MAX = 256 * 1024
_ORDER, _RESULT = int(EventKind.ORDER), int(EventKind.RESULT)
_DIRECTORY = frozenset(
    (int(EventKind.ACCOUNT), int(EventKind.CREDENTIAL), int(EventKind.INSTRUMENT))
)
_SESSION = int(EventKind.SESSION)


class Deliveries(NamedTuple):
    """The parts of a batch's events."""

    results: list[bytes]
    """One RESULT record per command, in order."""
    orders: dict[int, list[bytes]]
    """ORDER events by account, of those accounts that somebody wants."""
    directory: list[bytes]
    """Query records of accounts, credentials and instruments that changed."""
    session_changed: bool


def split_events(events: bytes, wanted: Callable[[int], bool]) -> Deliveries:
    """Sort the events of one batch; `wanted(account)` is asked once per account."""
    results: list[bytes] = []
    orders: dict[int, list[bytes] | None] = {}
    directory: list[bytes] = []
    session_changed = False
    unpack = RECORD_HEADER.unpack_from
    offset, end = 0, len(events)
    while offset < end:
        length, kind, _, account = unpack(events, offset)
        after = offset + length
        if kind == _RESULT:
            results.append(events[offset:after])
        elif kind == _ORDER:
            if account not in orders:
                orders[account] = [] if wanted(account) else None
            mine = orders[account]
            if mine is not None:
                mine.append(events[offset:after])
        elif kind in _DIRECTORY:
            body = events[offset + HEADER_BYTES : after]
            directory.append(RECORD_HEADER.pack(RECORD_HEADER_BYTES + len(body), kind, 0, 0) + body)
        elif kind == _SESSION:
            session_changed = True
        offset = after
    return Deliveries(
        results,
        {account: records for account, records in orders.items() if records},
        directory,
        session_changed,
    )


def messages(records: Iterable[bytes]) -> list[bytes]:
    """Join records into messages of at most EVENTS_MESSAGE_BYTES_MAX, in order."""
    joined: list[bytes] = []
    pieces: list[bytes] = []
    size = 0
    for record in records:
        if pieces and size + len(record) > EVENTS_MESSAGE_BYTES_MAX:
            joined.append(b"".join(pieces))
            pieces, size = [], 0
        pieces.append(record)
        size += len(record)
    if pieces:
        joined.append(b"".join(pieces))
    return joined


def refuse_record(command: bytes) -> bytes:
    """Return the RESULT of a command that cannot go into the log: BAD_COMMAND, sequence 0."""
    _, kind, _, account, request_id = COMMAND_HEADER.unpack_from(command)
    length = HEADER_BYTES + RESULT_BODY_BYTES
    head = HEADER.pack(length, EventKind.RESULT, 0, account, 0, 0, 0)
    return head + RESULT_BODY.pack(request_id, Reason.BAD_COMMAND, 0, 0, kind, 0, 0, 0)
