"""One application at run time: its slots, their children and sockets, and who accepts for whom.

A slot is a place with sockets that stay open. Its `child` serves there; beside it there may be an
`other`, of another generation: the next one while it gets ready, the one before while it is kept
for a return. Both have the same sockets, so that no connection is lost between them.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from madang.cluster import channel, steering
from madang.cluster.channel import Message
from madang.cluster.policy import MS, Instance, Limits, State
from madang.cluster.ports import Port
from madang.cluster.scoreboard import COUNTED, Scores
from madang.cluster.settings import ApplicationSettings
from madang.cluster.templates import Template

CAUSES_KEPT = 10


@dataclass(slots=True, eq=False)
class Child:
    """One instance: what the policy knows in `instance`, what only the shell knows beside it."""

    application: Application
    slot: Slot
    generation: int
    output: int
    """Where it writes: a pipe of its own, which the logger knows as `stream`."""
    template: Template | None = None
    accepting: bool = True
    instance: Instance = field(default_factory=Instance)
    incarnation: int = 0
    pid: int | None = None
    request_id: int | None = None
    pending_signal: signal.Signals | None = None
    channel: socket.socket | None = None
    their_channel: socket.socket | None = None
    input: int | None = None
    status: str = ""
    tail: list[str] = field(default_factory=list)
    row: int | None = None
    scores: Scores = field(default_factory=Scores)
    beats: int = 0
    stillness: tuple[int, int] = (0, 0)
    cpu_ticks: int = 0
    cpu_percent: float = 0.0
    rss: int = 0
    handing_over: int = 0
    """How many movements of connections it has not reported as done."""
    reason: str = ""
    """Why a generation change is to end this child, said in its last exit."""

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.slot.name

    @property
    def stream(self) -> str:
        """What the logger knows its output as; two generations are told apart."""
        return f"{self.slot.name}/{self.generation}"

    @property
    def state(self) -> State:
        """Where the instance is in its life."""
        return self.instance.state

    def close_channels(self) -> None:
        """Forget the channel and the input of a process that is gone."""
        for end in (self.channel, self.their_channel):
            if end is not None:
                end.close()
        self.channel = self.their_channel = None
        if self.input is not None:
            os.close(self.input)
            self.input = None

    def tell(self, message: Message, descriptors: list[int]) -> bool:
        """Send to the child; False when it is gone or does not read."""
        if self.channel is None:
            return False
        try:
            channel.send(self.channel, message, descriptors)
        except (channel.ChannelClosed, BlockingIOError):
            return False
        return True

    def accept(self, wanted: bool) -> None:
        """Say whether to accept from the slot's own sockets; another generation does otherwise."""
        if self.accepting is not wanted:
            self.accepting = wanted
            self.tell({"kind": "accepting", "wanted": wanted}, [])

    def uptime_s(self, now_ns: int) -> int:
        """Return for how long the process has been running."""
        return (now_ns - self.instance.started_ns) // (1_000 * MS) if self.pid is not None else 0


@dataclass(slots=True, eq=False)
class Slot:
    """One place of an application."""

    index: int
    name: str
    child: Child = field(init=False)
    other: Child | None = None
    incarnation: int = 0
    exits: dict[str, int] = field(default_factory=dict)
    causes: deque[dict[str, object]] = field(default_factory=lambda: deque(maxlen=CAUSES_KEPT))

    def children(self) -> Iterator[Child]:
        """Yield the one who serves, then the other generation's if there is one."""
        yield self.child
        if self.other is not None:
            yield self.other

    def note_exit(self, reason: str, child: Child) -> None:
        """Remember why a process of this slot ended."""
        kind = exit_kind(reason)
        self.exits[kind] = self.exits.get(kind, 0) + 1
        self.causes.append(
            {
                "at": int(time.time()),
                "pid": child.pid,
                "generation": child.generation,
                "state": str(child.state),
                "cause": reason,
            }
        )


class Application:
    """The slots of one application."""

    def __init__(self, settings: ApplicationSettings, limits: Limits) -> None:
        self.settings = settings
        self.limits = limits
        self.ports: list[Port] = []
        self.slots: list[Slot] = []
        self.leaving: list[Child] = []
        """Children without a place, until they have ended."""
        self.newest = 1
        """The number of the newest generation, whether it came to serve or not."""
        self.template: Template | None = None
        self.stopping = False
        self.wanted = settings.instances
        self.shares: Mapping[int, float] = {}
        self.last_problem = ""
        """Why the last reload was abandoned or rolled back, until one succeeds."""
        self.restarts: dict[str, int] = {}
        """How many processes were started again, by the kind of their end."""
        self.past = dict.fromkeys(COUNTED, 0)
        """What the processes that have ended had counted."""
        self.held: dict[int, tuple[Child, int]] = {}
        """Who accepts from the socket of an absent slot, and which life of it was told to."""

    def totals(self) -> dict[str, int]:
        """Return what all its processes have counted, those included that have ended."""
        rows = [child.scores for child in self.children()]
        return {
            name: past + sum(getattr(row, name) for row in rows) for name, past in self.past.items()
        }

    def keep(self, scores: Scores) -> None:
        """Add what a process had counted when it ended."""
        for name in COUNTED:
            self.past[name] += getattr(scores, name)

    def note_restart(self, reason: str) -> None:
        """Count a process that is started again."""
        kind = exit_kind(reason)
        self.restarts[kind] = self.restarts.get(kind, 0) + 1

    @property
    def name(self) -> str:
        """The application's name."""
        return self.settings.name

    def children(self) -> list[Child]:
        """Return every instance, those of another generation included."""
        return [*(child for slot in self.slots for child in slot.children()), *self.leaving]

    def in_state(self, *states: State) -> bool:
        """Whether every instance is in one of `states`."""
        return all(child.instance.state in states for child in self.children())

    @property
    def generation(self) -> int:
        """The newest generation that serves."""
        return max((slot.child.generation for slot in self.slots), default=self.newest)

    def begin_generation(self) -> None:
        """Count one more; a number is never used for two."""
        self.newest += 1

    def ready(self) -> int:
        """Return how many slots are served."""
        return sum(slot.child.instance.state is State.READY for slot in self.slots)

    def find(self, name: str) -> Slot | None:
        """Return the slot with the instance `name`."""
        return next((slot for slot in self.slots if slot.name == name), None)

    def spec_ports(self) -> tuple[str, ...]:
        """Return the port names in the order of `listeners`."""
        return tuple(port.name for port in self.ports)

    def listeners(self, index: int) -> list[int]:
        """Return the descriptors of slot `index`, one for each port."""
        return [port.listeners[index].fileno() for port in self.ports]

    def own_port(self, index: int) -> int | None:
        """Return the number that instance `index` finds in PORT."""
        if self.ports:
            return self.ports[0].address[1]
        own = [port for port in self.settings.ports if not port.inherit]
        return own[0].port + index if own else None

    def addresses(self) -> dict[str, tuple[str, int]]:
        """Return host and port of every public port."""
        kept = {port.name: port.address for port in self.ports}
        own = {
            port.name: (port.host, port.port) for port in self.settings.ports if not port.inherit
        }
        return {**kept, **own}

    def live(self) -> frozenset[int]:
        """Return the slots that can be given new connections."""
        return frozenset(
            slot.index
            for slot in self.slots
            if slot.child.instance.state is State.READY and slot.child.accepting
        )

    def steer(self) -> None:
        """Make the kernel choose among the ready slots, and let neighbours accept for the others.

        An application that is stopping is left as it is: nobody could accept instead.
        """
        if not self.ports or self.stopping:
            return
        live = self.live()
        shares = {slot: share for slot, share in self.shares.items() if slot in live}
        for port in self.ports:
            port.steer(live, shares if len(shares) == len(live) else {})
        places = max(port.places for port in self.ports)
        wanted = steering.neighbours(live, places)
        for absent, (holder, incarnation) in list(self.held.items()):
            current = self.slots[wanted[absent]].child if absent in wanted else None
            if current is not holder or holder.incarnation != incarnation:
                self._release(absent)
        for absent, index in wanted.items():
            if absent not in self.held:
                self._take(absent, self.slots[index].child)

    def release(self, absent: int) -> None:
        """Have the neighbour leave the socket of `absent`, which is about to be closed."""
        if absent in self.held:
            self._release(absent)

    def _take(self, absent: int, holder: Child) -> None:
        for port in self.ports:
            descriptor = port.at(absent)
            message = {"kind": "take", "port": port.name, "slot": absent}
            if descriptor is not None and not holder.tell(message, [descriptor]):
                return
        self.held[absent] = (holder, holder.incarnation)

    def _release(self, absent: int) -> None:
        holder, incarnation = self.held.pop(absent)
        if holder.incarnation == incarnation:
            for port in self.ports:
                holder.tell({"kind": "release", "port": port.name, "slot": absent}, [])

    @property
    def is_lost(self) -> bool:
        """Tell whether it listens although nobody will answer before it is started again."""
        over = (State.ERRORED, State.STOPPED)
        nobody = all(child.state in over for slot in self.slots for child in slot.children())
        return bool(self.ports and self.slots) and nobody

    def close_ports(self) -> None:
        """Stop listening; what still waits is reset. A later start listens where this one did."""
        self.held.clear()
        numbers = {port.name: port.address[1] for port in self.ports}
        ports = tuple(replace(p, port=numbers.get(p.name, p.port)) for p in self.settings.ports)
        self.settings = replace(self.settings, ports=ports)
        for port in self.ports:
            with suppress(OSError):
                port.close()
        self.ports = []


def exit_kind(reason: str) -> str:
    """Return the kind of an exit, of which there are few: for counting."""
    for word in ("hung", "not ready", "did not stop", "cannot start"):
        if reason.startswith(word):
            return word
    return reason if reason.startswith(("SIG", "exit ")) else "other"
