"""How many connections of all workers listen to each channel, over the bus.

Every worker of a group tells what changed, at most each `interval_ms`, and all of its counts to who
asks; it asks itself when it starts, when a link is made, and after a loss. Invariant: a total is
the sum of the last word of every worker that is there; a worker whose link is lost counts no more
from that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from madang.bus import Bus, Gap, Message
from madang.hub.hub import Hub
from madang.hub.presence import PresenceTotals


class RollCallSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often changes are told, and how many channels one message of the bus names."""

    interval_ms: int = 100
    channels_per_message_max: int = 1_000


class _Told(msgspec.Struct, array_like=True, frozen=True):
    """A worker's counts by channel; `whole`: those not named are 0."""

    whole: bool
    counts: dict[str, int]


class RollCall:
    """One per worker. `group` keeps the channels of one application apart from another's."""

    def __init__(
        self, bus: Bus, hub: Hub, group: str, settings: RollCallSettings | None = None
    ) -> None:
        self.totals = PresenceTotals()
        self._bus = bus
        self._hub = hub
        self._settings = settings or RollCallSettings()
        self._subject = f"hub.presence.{group}"
        self._question = f"hub.ask.{group}"
        self._closed = False
        self._subscriptions = (
            bus.subscribe(self._subject, self._on_told, self._on_gap),
            bus.subscribe(self._question, self._on_asked),
        )
        bus.on_peer(self._on_peer)
        self._ask()
        self._task = asyncio.get_running_loop().create_task(self._tell_for_ever())

    def total(self, channel: str) -> int:
        """Return how many connections of all workers listen to a channel."""
        return self.totals.total(channel)

    def close(self) -> None:
        """Count and tell no more."""
        self._closed = True
        self._task.cancel()
        for subscription in self._subscriptions:
            subscription.close()

    async def _tell_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.interval_ms / 1000)
            self.tell()

    def tell(self) -> None:
        """Tell what changed since the last time."""
        changes = self._hub.take_presence_changes()
        if changes:
            self.totals.report(self._bus.name, changes)
            self._publish(changes, whole=False)

    def _publish(self, counts: Mapping[str, int], *, whole: bool) -> None:
        if not self._bus.interested(self._subject):
            return
        named = list(counts.items())
        most = self._settings.channels_per_message_max
        for at in range(0, max(1, len(named)), most):
            told = _Told(whole and at == 0, dict(named[at : at + most]))
            self._bus.publish(self._subject, msgspec.msgpack.encode(told))

    def _ask(self) -> None:
        self._bus.publish(self._question, b"")

    def _on_asked(self, messages: list[Message]) -> None:
        if any(message.peer != self._bus.name for message in messages):
            self.tell()
            self._publish(self._hub.presence(), whole=True)

    def _on_told(self, messages: list[Message]) -> None:
        for message in messages:
            if message.peer != self._bus.name:
                told = msgspec.msgpack.decode(message.payload, type=_Told)
                if told.whole:
                    self.totals.forget(message.peer)
                self.totals.report(message.peer, told.counts)

    def _on_gap(self, _gap: Gap) -> None:
        self._ask()

    def _on_peer(self, name: str, connected: bool) -> None:
        if self._closed:
            return
        if connected:
            self._ask()
        else:
            self.totals.forget(name)
