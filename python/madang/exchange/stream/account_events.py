"""The order events of accounts as hub channels: complete, in order, each once.

One `AccountEvents` per account that somebody on this worker listens to. Its offset is the event id
of the log. It goes live in three steps: subscribe to the bus, ask the venue a question on the same
link (so the subscription is known there before the answer leaves), ask the ledger how far events
go. After a gap the same steps run again, and what the ledger has after our offset is published
first. Invariant: while live, every event after `offset` has been or will be published; where that
cannot be had, the listeners are closed with a code that says to come back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from madang.bus import Bus, BusError, Gap, Message, Subscription
from madang.core import log
from madang.core.closecodes import CloseCode
from madang.core.errors import MadangError
from madang.exchange.api.ledger_client import NEWEST_EVENT, LedgerClient, LedgerUnavailable
from madang.exchange.directory import DirectoryReplica
from madang.exchange.stream.dialects import encoder
from madang.exchange.stream.moving import Pins, stands_at, until_live
from madang.exchange.stream.positions import position
from madang.exchange.subjects import COMMITTED, COMMITTED_TIMEOUT_MS, events_subject
from madang.hub import (
    Channel,
    ChannelSettings,
    Connection,
    HistoryMissing,
    Hub,
    resume_channel,
)
from madang.wire.events import parse_order_update, split_records

SERVER_WAIT_MS: Final = 2_000
LIVE_WITHIN_S: Final = 30.0
RETRY_S: Final = 0.05
RECOVERY_PAGE: Final = 1_500
"""Events in one answer of the ledger: the longest ones stay below the bus's message limit."""
HELD_PIECES_MAX: Final = 20_000
PIECE_BYTES: Final = 64 * 1024
CHANNEL: Final = ChannelSettings(history_count_max=500, history_bytes_max=262_144)
"""As much as may come while a client moves to another worker."""

Ready = Callable[[], None]


class EventsLost(MadangError):
    """The sequence of events cannot be continued."""


class AccountEvents:
    """One account's channel and the way to keep it complete."""

    def __init__(self, account: int, owner: AccountEventsHub) -> None:
        self.account = account
        self.channel: Channel = owner.hub.channel(f"orders.{account}", CHANNEL)
        self.channel.on_last = lambda _: owner.leave_if_idle(self)
        self._owner = owner
        self._offset: int | None = None
        self._began = False
        self._held: deque[bytes] | None = deque()
        self._waiting: dict[Connection, Ready] = {}
        self._again = False
        self._closed = False
        self._subscription: Subscription = owner.bus.subscribe(
            events_subject(account), self._on_messages, self._on_gap
        )
        self._task: asyncio.Task[None] = asyncio.create_task(self._go_live(recover=True))

    @property
    def live(self) -> bool:
        """Tell whether events are passed on as they come."""
        return self._held is None

    @property
    def idle(self) -> bool:
        """Tell whether nobody listens or waits to."""
        pinned = self.channel.name in self._owner.pins
        return not self._waiting and not self.channel.subscribers and not pinned

    def join(self, connection: Connection, ready: Ready) -> None:
        """Call `ready`, then send `connection` every event from that moment on."""
        if self.live:
            self._admit(connection, ready)
        else:
            self._waiting[connection] = ready

    def has_waiting(self, connection: Connection) -> bool:
        """Tell whether a connection waits to join."""
        return connection in self._waiting

    def cancel(self, connection: Connection) -> None:
        """Forget a connection that waits to join."""
        self._waiting.pop(connection, None)

    def _admit(self, connection: Connection, ready: Ready) -> None:
        if not connection.closed:
            ready()
            connection.subscribe(self.channel)

    def close(self) -> None:
        """Stop following."""
        self._closed = True
        self._subscription.close()
        if asyncio.current_task() is not self._task:
            self._task.cancel()

    def _on_messages(self, messages: list[Message]) -> None:
        """Publish at once what is small; the rest is held and goes a piece at a time."""
        try:
            room = PIECE_BYTES
            for message in messages:
                room -= len(message.payload)
                if self._held is None and room >= 0:
                    self._publish(message.payload)
                else:
                    self._hold(message.payload)
        except EventsLost as lost:
            self._give_up(lost.message)

    def _hold(self, payload: bytes) -> None:
        if self._held is None:
            self._held = deque()
            self._task = asyncio.create_task(self._go_live(recover=False))
        if len(self._held) >= HELD_PIECES_MAX:
            raise EventsLost("too many events at once")
        self._held.extend(pieces(payload))

    def _on_gap(self, _gap: Gap) -> None:
        if self._closed:
            return
        if self._held is None:
            self._held = deque()
            self._task = asyncio.create_task(self._go_live(recover=True))
        else:
            self._again = True

    def _publish(self, records: bytes) -> None:
        instruments = self._owner.replica.directory.instruments
        for _, offset, length in split_records(records):
            update = parse_order_update(records, offset)
            if self._offset is not None and update.event_id <= self._offset:
                continue
            instrument = instruments.get(update.order.instrument)
            if instrument is None:
                raise EventsLost(f"instrument {update.order.instrument} is not known here")
            self._offset = update.event_id
            encode = encoder(update, instrument)
            self.channel.publish(position(update.event_id), encode, length)

    async def _go_live(self, *, recover: bool) -> None:
        """Recover what was missed if asked to, publish what is held, then pass events on."""
        try:
            async with asyncio.timeout(LIVE_WITHIN_S):
                while recover or self._held:
                    if recover and not await self._catch_up():
                        continue
                    await self._publish_held()
                    recover = self._again
        except (TimeoutError, MadangError) as error:
            self._give_up(str(error) or "time is over")
            return
        self._held = None
        self._began = True
        waiting, self._waiting = self._waiting, {}
        for connection, ready in waiting.items():
            self._admit(connection, ready)
        self._owner.leave_if_idle(self)

    async def _publish_held(self) -> None:
        """Publish a piece at a time, so that outboxes are written in between."""
        while self._held:
            self._publish(self._held.popleft())
            await asyncio.sleep(0)

    async def _catch_up(self) -> bool:
        """Take the steps once; False where they must be taken again."""
        self._again = False
        bus = self._owner.bus
        try:
            await bus.request(COMMITTED, b"", COMMITTED_TIMEOUT_MS)
            await self._recover()
        except BusError:
            await bus.wait_for_server(COMMITTED, SERVER_WAIT_MS)
            await asyncio.sleep(RETRY_S)
            return False
        except LedgerUnavailable:
            await asyncio.sleep(RETRY_S)
            return False
        return not self._again

    async def _recover(self) -> None:
        ledger = self._owner.ledger
        if not self._began:
            self._offset = (await ledger.events(self.account, NEWEST_EVENT, 1)).last
            if self._offset is not None:
                self.channel.begin(position(self._offset))
            return
        if self._offset is None:
            raise EventsLost("events began at an unknown place")
        while True:
            page = await ledger.events(self.account, self._offset, RECOVERY_PAGE)
            if not page.complete:
                raise EventsLost("the ledger does not keep events that old")
            for piece in pieces(b"".join(page.records)):
                self._publish(piece)
                await asyncio.sleep(0)
            if len(page.records) < RECOVERY_PAGE:
                return

    def _give_up(self, why: str) -> None:
        """Close everybody who listens or waits, so that they come back and load anew.

        It is let go even where it is kept for who moves: whoever joins next begins anew.
        """
        log.get("stream").warning("order events interrupted", account=self.account, reason=why)
        waiting, self._waiting = self._waiting, {}
        for connection in waiting:
            connection.close(CloseCode.SERVICE_RESTART, "order events are not available")
        self.channel.interrupt("order events are not available")
        self._owner.leave(self)


def pieces(records: bytes) -> list[bytes]:
    """Return concatenated records in pieces of about PIECE_BYTES, cut between records."""
    if len(records) <= PIECE_BYTES:
        return [records] if records else []
    found: list[bytes] = []
    start = 0
    for _, offset, length in split_records(records):
        if offset + length - start >= PIECE_BYTES:
            found.append(records[start : offset + length])
            start = offset + length
    if start < len(records):
        found.append(records[start:])
    return found


class AccountEventsHub:
    """The accounts that somebody on this worker listens to."""

    def __init__(self, bus: Bus, hub: Hub, ledger: LedgerClient, replica: DirectoryReplica) -> None:
        self.bus = bus
        self.hub = hub
        self.ledger = ledger
        self.replica = replica
        self.pins = Pins()
        self._accounts: dict[int, AccountEvents] = {}

    def join(self, account: int, connection: Connection, ready: Ready) -> None:
        """Send `connection` the account's events; `ready` is called when that begins."""
        self._follow(account).join(connection, ready)

    def _follow(self, account: int) -> AccountEvents:
        found = self._accounts.get(account)
        if found is None:
            found = self._accounts[account] = AccountEvents(account, self)
        return found

    def waits(self, account: int, connection: Connection) -> bool:
        """Tell whether a connection is to listen and does not yet, or may miss something."""
        found = self._accounts.get(account)
        return found is not None and (not found.live or found.has_waiting(connection))

    def stands_at(self, account: int, connection: Connection) -> int | None:
        """Return the last event a connection has been sent, None where it waits to listen."""
        found = self._accounts.get(account)
        if found is None or not found.live or not found.channel.has(connection):
            return None
        return stands_at(found.channel, connection)

    def resume(self, account: int, connection: Connection, last: int) -> None:
        """Send every event after `last`; raises HistoryMissing where that is not known here."""
        found = self._follow(account)
        if not found.live:
            raise HistoryMissing("order events are not here yet")
        resume_channel(connection, found.channel, position(last))

    def keep(self) -> list[str]:
        """Keep every account that is followed until `let_go`, and return their channels."""
        names = [found.channel.name for found in self._accounts.values()]
        self.pins.hold(names)
        return names

    async def warm(self, accounts: list[int]) -> None:
        """Follow accounts until `let_go`; returns when their events flow."""
        found = [self._follow(account) for account in accounts]
        self.pins.hold(events.channel.name for events in found)
        await until_live(found, lambda events: cast("AccountEvents", events).live)

    def let_go(self) -> None:
        """Keep no account that nobody listens to."""
        self.pins.clear()
        for found in list(self._accounts.values()):
            if found.live:
                self.leave_if_idle(found)

    def part(self, account: int, connection: Connection) -> None:
        """Stop sending `connection` the account's events."""
        found = self._accounts.get(account)
        if found is not None:
            found.cancel(connection)
            connection.unsubscribe(found.channel)
            self.leave_if_idle(found)

    def leave_if_idle(self, events: AccountEvents) -> None:
        """Let an account go that nobody listens to."""
        if events.idle:
            self.leave(events)

    def leave(self, events: AccountEvents) -> None:
        """Let an account go; whoever still listens is asked to come back."""
        if self._accounts.get(events.account) is events:
            del self._accounts[events.account]
            events.close()
            self.hub.drop(events.channel.name)

    def close(self) -> None:
        """Let every account go."""
        for events in list(self._accounts.values()):
            events.close()
        self._accounts.clear()
