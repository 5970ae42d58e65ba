"""The sequencer: puts commands into one order and answers when that order is durable.

A request goes `offer` -> waiting -> `begin` -> being written -> `durable` -> `apply` -> answered.
One batch is written while the next is gathered and the one before is applied. Pure: the caller
writes the record that `begin` returns, tells `durable` (or `refuse_writing`), and gives the time.
Invariant: nothing is applied, and nobody answered with an outcome, before `durable` was told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from madang.exchange.engine.port import Engine
from madang.exchange.venue.answers import Deliveries, refuse_record, split_events
from madang.exchange.venue.errors import (
    BadFraming,
    Refused,
    VenueFull,
    VenueOverloaded,
    WaitedTooLong,
)
from madang.exchange.venue.segment import RULES_VERSION
from madang.wire.batch import HEADER_BYTES as BATCH_HEADER_BYTES
from madang.wire.batch import encode_batch
from madang.wire.commands import COMMAND_BYTES_MAX, HEADER_BYTES

REQUEST_COMMANDS_MAX = 1024
"""So that the answer, one RESULT with an order each, fits into one message of the bus."""


class Reply(Protocol):
    """Where the answer of one request goes; exactly one call."""

    def respond(self, payload: bytes) -> None:
        """Answer with concatenated RESULT records, one per command."""
        ...

    def refuse(self, error: str) -> None:
        """Say the definite no: nothing of the request is or will be in the log."""
        ...


class SequencerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may wait, and how much goes into one batch."""

    waiting_commands_max: int = 65_536
    waiting_bytes_max: int = 16 * 1024 * 1024
    waiting_ms_max: int = 3_000
    batch_commands_max: int = 8_192
    batch_bytes_max: int = 1024 * 1024
    full_retry_ms: int = 1_000


class _Request(NamedTuple):
    reply: Reply
    commands: bytes
    size: int
    refused: tuple[tuple[int, bytes], ...]
    arrived_ns: int


class _Batch(NamedTuple):
    record: bytes
    first: int
    size: int
    requests: list[_Request]


class Applied(NamedTuple):
    """One batch after `apply`: its record, its events, and those parts that go to others."""

    record: bytes
    first: int
    last: int
    events: bytes
    deliveries: Deliveries


class Sequencer:
    """Orders, applies, answers. All methods belong to one thread; times are nanoseconds."""

    def __init__(
        self, engine: Engine, term: int, last_now_ns: int, settings: SequencerSettings
    ) -> None:
        """Continue behind `engine.sequence`; the log's last batch has time `last_now_ns`."""
        self._engine = engine
        self._term = term
        self._last_now_ns = last_now_ns
        self._settings = settings
        self._next = engine.sequence + 1
        self._waiting: deque[_Request] = deque()
        self._waiting_commands = 0
        self._waiting_bytes = 0
        self._writing: _Batch | None = None
        self._durable: deque[_Batch] = deque()
        self._full_until_ns = -1

    @property
    def waiting(self) -> int:
        """Return how many commands wait to be written."""
        return self._waiting_commands

    @property
    def idle(self) -> bool:
        """Tell whether nothing waits, is written or is to be applied."""
        return not self._waiting and self._writing is None and not self._durable

    def offer(self, reply: Reply, payload: bytes, monotonic_ns: int) -> None:
        """Take a request's concatenated commands, or refuse them through `reply` at once."""
        try:
            request = self._admit(reply, payload, monotonic_ns)
        except Refused as refusal:
            reply.refuse(f"{type(refusal).__name__}: {refusal.message}")
            return
        if request.size == 0:
            reply.respond(_answer(request, []))
            return
        self._waiting.append(request)
        self._waiting_commands += request.size
        self._waiting_bytes += len(request.commands)

    def _admit(self, reply: Reply, payload: bytes, monotonic_ns: int) -> _Request:
        if monotonic_ns < self._full_until_ns:
            raise VenueFull("no room on the venue's disk")
        count, too_long = check_framing(payload)
        limits = self._settings
        if self._waiting_commands + count > limits.waiting_commands_max:
            raise VenueOverloaded(f"{limits.waiting_commands_max} commands are waiting")
        if self._waiting_bytes + len(payload) > limits.waiting_bytes_max:
            raise VenueOverloaded(f"{limits.waiting_bytes_max} bytes are waiting")
        if not too_long:
            return _Request(reply, payload, count, (), monotonic_ns)
        refused, kept = [], []
        start = 0
        for index, offset, length in too_long:
            refused.append((index, refuse_record(payload[offset : offset + HEADER_BYTES])))
            kept.append(payload[start:offset])
            start = offset + length
        kept.append(payload[start:])
        return _Request(reply, b"".join(kept), count - len(refused), tuple(refused), monotonic_ns)

    def begin(self, now_ns: int, monotonic_ns: int) -> bytes | None:
        """Return the next batch record to write; None if nothing waits or one is being written."""
        if self._writing is not None:
            return None
        requests = self._gather(monotonic_ns)
        if not requests:
            return None
        count = sum(request.size for request in requests)
        now_ns = max(self._last_now_ns + 1, now_ns)
        record = encode_batch(
            b"".join([request.commands for request in requests]),
            count,
            term=self._term,
            sequence=self._next,
            now_ns=now_ns,
            rules_version=RULES_VERSION,
        )
        self._writing = _Batch(record, self._next, count, requests)
        self._last_now_ns = now_ns + count - 1
        return record

    def _gather(self, monotonic_ns: int) -> list[_Request]:
        limits = self._settings
        oldest_ns = monotonic_ns - limits.waiting_ms_max * 1_000_000
        room_bytes = limits.batch_bytes_max - BATCH_HEADER_BYTES - 8
        room_commands = limits.batch_commands_max
        requests: list[_Request] = []
        while self._waiting:
            request = self._waiting[0]
            fits = request.size <= room_commands and len(request.commands) <= room_bytes
            if requests and not fits:
                break
            self._waiting.popleft()
            self._waiting_commands -= request.size
            self._waiting_bytes -= len(request.commands)
            if request.arrived_ns < oldest_ns:
                _refuse(request, WaitedTooLong(f"waited {limits.waiting_ms_max} ms for the disk"))
                continue
            requests.append(request)
            room_commands -= request.size
            room_bytes -= len(request.commands)
        return requests

    @property
    def writing_first(self) -> int:
        """Return the sequence of the first command of the batch being written."""
        assert self._writing is not None
        return self._writing.first

    def durable(self) -> None:
        """Take note that the batch being written is durable."""
        batch = self._writing
        assert batch is not None
        self._writing = None
        self._next += batch.size
        self._durable.append(batch)

    def refuse_writing(self, monotonic_ns: int) -> None:
        """Take note that there was no room: the batch is not in the log; tell all who wait."""
        batch = self._writing
        assert batch is not None
        self._writing = None
        self._full_until_ns = monotonic_ns + self._settings.full_retry_ms * 1_000_000
        full = VenueFull("no room on the venue's disk")
        for request in batch.requests:
            _refuse(request, full)
        self._refuse_waiting(full)

    def apply(self, wanted: Callable[[int], bool]) -> Applied | None:
        """Apply the oldest durable batch and answer its requests; None where there is none.

        `wanted(account)` tells for whose accounts order events are to be sorted out.
        """
        if not self._durable:
            return None
        batch = self._durable.popleft()
        events = self._engine.apply(batch.record)
        deliveries = split_events(events, wanted)
        results = deliveries.results
        assert len(results) == batch.size, "an engine answers each command once"
        start = 0
        for request in batch.requests:
            end = start + request.size
            request.reply.respond(_answer(request, results[start:end]))
            start = end
        last = batch.first + batch.size - 1
        assert self._engine.sequence == last
        return Applied(batch.record, batch.first, last, events, deliveries)

    def refuse_waiting(self, reason: str) -> None:
        """Refuse what waits; nothing of it was logged."""
        self._refuse_waiting(VenueOverloaded(reason))

    def _refuse_waiting(self, refusal: Refused) -> None:
        while self._waiting:
            _refuse(self._waiting.popleft(), refusal)
        self._waiting_commands = self._waiting_bytes = 0


def check_framing(payload: bytes) -> tuple[int, list[tuple[int, int, int]]]:
    """Return (number of commands, [(index, offset, length)] of those too long for the log).

    Raises BadFraming where the lengths do not add up: then no command can be told from the next.
    """
    offset, end, count = 0, len(payload), 0
    too_long: list[tuple[int, int, int]] = []
    while offset < end:
        if end - offset < HEADER_BYTES:
            raise BadFraming(f"command header cut at byte {offset}")
        length = payload[offset] | payload[offset + 1] << 8
        if length < HEADER_BYTES or length % 8 or offset + length > end:
            raise BadFraming(f"impossible command length {length} at byte {offset}")
        if length > COMMAND_BYTES_MAX:
            too_long.append((count, offset, length))
        count += 1
        offset += length
    if not 0 < count <= REQUEST_COMMANDS_MAX:
        raise BadFraming(f"{count} commands in a request, expected 1 to {REQUEST_COMMANDS_MAX}")
    return count, too_long


def _answer(request: _Request, results: list[bytes]) -> bytes:
    for index, result in request.refused:
        results.insert(index, result)
    return b"".join(results)


def _refuse(request: _Request, refusal: Refused) -> None:
    request.reply.refuse(f"{type(refusal).__name__}: {refusal.message}")
