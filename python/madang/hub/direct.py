"""Messages to one client, wherever it is: by the worker its id names, or the one it has moved to.

A client keeps its id when it moves (`worker:number`, the worker it came to first). While a worker
is handing clients over, both it and the next get every message; the next one also gets what came
to a client after it was frozen. Invariant: of one message a client hears once: it
takes the numbers of the last messages it heard along.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from madang.bus import Bus, Message
from madang.bus.port import Subscription

DIRECT: Final = "_hub.send."
HEARD_MAX: Final = 64
"""Messages from other workers a client remembers; far more than come while it moves."""
HELD_MAX: Final = 1_000
"""Messages that wait for one client that is on its way; then the oldest are dropped."""

Heard = deque[str]
Deliver = Callable[[bytes], None]


def new_heard(numbers: list[str] | None = None) -> Heard:
    """Return the memory of one client."""
    return deque(numbers or (), HEARD_MAX)


class Direct:
    """The clients of this worker by id, and where those that moved are."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._here: dict[str, tuple[Deliver, Heard]] = {}
        self._held: dict[str, deque[tuple[bytes, str]]] = {}
        self._moved: dict[str, str] = {}
        self._next = 0
        self._subscriptions: dict[str, Subscription] = {}
        self.stand_in(bus.name)

    def stand_in(self, worker: str) -> None:
        """Hear what is sent to the clients that came to `worker`, which may be another."""
        if worker not in self._subscriptions:
            subject = DIRECT + worker
            self._subscriptions[worker] = self._bus.subscribe(subject, self._on_messages)

    def enter(self, id: str, deliver: Deliver, heard: Heard) -> None:
        """A client is here; what was held for it comes now."""
        self.stand_in(id.rpartition(":")[0])
        self._here[id] = (deliver, heard)
        self._moved.pop(id, None)
        for data, number in self._held.pop(id, ()):
            self._hand(id, data, number)

    def leave(self, id: str) -> None:
        """A client is gone."""
        self._here.pop(id, None)

    def hold(self, id: str) -> None:
        """A client is on its way: what comes for it waits."""
        self._here.pop(id, None)
        self._held[id] = deque(maxlen=HELD_MAX)

    def moved(self, id: str, worker: str) -> None:
        """A client is at another worker; what waited for it goes there."""
        self._moved[id] = worker
        for data, number in self._held.pop(id, ()):
            self._publish(worker, id, data, number)

    def send(self, id: str, data: bytes) -> None:
        """Send to a client of any worker; one that is gone is nobody's."""
        self._next += 1
        number = f"{self._bus.name}-{self._next}"
        if self._hand(id, data, number):
            return
        worker = id.rpartition(":")[0]
        if worker and worker != self._bus.name:
            self._publish(worker, id, data, number)

    def _hand(self, id: str, data: bytes, number: str) -> bool:
        """Give to a client that is here, was here, or is on its way; False where none is."""
        here = self._here.get(id)
        if here is not None:
            deliver, heard = here
            if number not in heard:
                heard.append(number)
                deliver(data)
        elif id in self._held:
            self._held[id].append((data, number))
        elif id in self._moved:
            self._publish(self._moved[id], id, data, number)
        else:
            return False
        return True

    def _publish(self, worker: str, id: str, data: bytes, number: str) -> None:
        self._bus.publish(DIRECT + worker, msgspec.msgpack.encode((id, data, number)))

    def _on_messages(self, batch: list[Message]) -> None:
        for message in batch:
            id, data, number = msgspec.msgpack.decode(message.payload, type=tuple[str, bytes, str])
            self._hand(id, data, number)

    def close(self) -> None:
        """Hear no more."""
        for subscription in self._subscriptions.values():
            subscription.close()
