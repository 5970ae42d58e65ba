"""One application at run time: its slots, their sockets, and who accepts for whom."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path

from madang.cluster import channel, linux, steering
from madang.cluster.channel import Message
from madang.cluster.policy import MS, Instance, Limits, State
from madang.cluster.ports import Port
from madang.cluster.settings import ApplicationSettings, ClusterSettings
from madang.cluster.spawner import Template


@dataclass(slots=True)
class Slot:
    """One instance: what the policy knows in `instance`, what only the shell knows beside it."""

    index: int
    name: str
    output: int
    instance: Instance = field(default_factory=Instance)
    incarnation: int = 0
    pid: int | None = None
    request_id: int | None = None
    pending_signal: signal.Signals | None = None
    channel: socket.socket | None = None
    their_channel: socket.socket | None = None
    status: str = ""
    tail: list[str] = field(default_factory=list)

    def close_channels(self) -> None:
        """Forget the channel of a process that is gone."""
        for end in (self.channel, self.their_channel):
            if end is not None:
                end.close()
        self.channel = self.their_channel = None

    def tell(self, message: Message, descriptors: list[int]) -> bool:
        """Send to the child; False when it is gone or does not read."""
        if self.channel is None:
            return False
        try:
            channel.send(self.channel, message, descriptors)
        except (channel.ChannelClosed, BlockingIOError):
            return False
        return True

    def row(self, application: str, now_ns: int) -> dict[str, object]:
        """Return what `madang ls` shows of this slot."""
        instance = self.instance
        up = instance.state in (State.READY, State.STALLED)
        return {
            "app": application,
            "name": self.name,
            "pid": self.pid,
            "slot": self.index,
            "state": str(instance.state),
            "restarts": instance.restarts,
            "uptime_s": (now_ns - instance.started_ns) // (1_000 * MS) if up else 0,
            "last_exit": instance.last_exit,
            "status": self.status,
            "rss": linux.rss_bytes(self.pid) if self.pid is not None else 0,
            "tail": self.tail if instance.state is State.ERRORED else [],
        }


class Group:
    """The slots of one application."""

    def __init__(
        self, settings: ApplicationSettings, ports: list[Port], template: Template
    ) -> None:
        self.settings = settings
        self.ports = ports
        self.template = template
        self.slots: list[Slot] = []
        self.stopping = False
        self._held: dict[int, tuple[int, int]] = {}

    def spec_ports(self) -> tuple[str, ...]:
        """Return the port names in the order of `listeners`."""
        return tuple(port.name for port in self.ports)

    def listeners(self, index: int) -> list[int]:
        """Return the descriptors of slot `index`, one for each port."""
        return [port.listeners[index].fileno() for port in self.ports]

    def in_state(self, *states: State) -> bool:
        """Whether every slot is in one of `states`."""
        return all(slot.instance.state in states for slot in self.slots)

    def steer(self) -> None:
        """Make the kernel choose among the ready slots, and let neighbours accept for the others.

        An application that is stopping is left as it is: nobody could accept instead.
        """
        if not self.ports or self.stopping:
            return
        live = frozenset(s.index for s in self.slots if s.instance.state is State.READY)
        for port in self.ports:
            port.steer(live)
        wanted = steering.neighbours(live, len(self.slots))
        for absent, (holder, incarnation) in list(self._held.items()):
            if wanted.get(absent) != holder or self.slots[holder].incarnation != incarnation:
                self._release(absent)
        for absent, holder in wanted.items():
            if absent not in self._held:
                self._take(absent, self.slots[holder])

    def _take(self, absent: int, holder: Slot) -> None:
        for port in self.ports:
            message = {"kind": "take", "port": port.name, "slot": absent}
            if not holder.tell(message, [port.listeners[absent].fileno()]):
                return
        self._held[absent] = (holder.index, holder.incarnation)

    def _release(self, absent: int) -> None:
        index, incarnation = self._held.pop(absent)
        holder = self.slots[index]
        if holder.incarnation == incarnation:
            for port in self.ports:
                holder.tell({"kind": "release", "port": port.name, "slot": absent}, [])


def limits(application: ApplicationSettings, settings: ClusterSettings) -> Limits:
    """Return the policy's limits for one application."""
    restart, watchdog = settings.restart, settings.watchdog
    return Limits(
        start_ns=application.start_timeout_ms * MS,
        stop_ns=application.stop_timeout_ms * MS,
        stall_ns=watchdog.stall_ms * MS,
        abort_ns=watchdog.abort_ms * MS,
        kill_ns=watchdog.kill_ms * MS,
        min_uptime_ns=restart.min_uptime_ms * MS,
        backoff_ns=restart.backoff_ms * MS,
        backoff_max_ns=restart.backoff_max_ms * MS,
        max_restarts=restart.max_restarts,
    )


def exit_text(status: int) -> str:
    """Return "exit 1" or "SIGKILL" for a wait status."""
    code = os.waitstatus_to_exitcode(status)
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name


def child_table(
    settings: ClusterSettings, group: Group, slot: Slot, notify_path: Path
) -> dict[str, object]:
    """Return what the child of `slot` is told: the plain form of `child.ChildSpec`.

    That is not imported here because it brings the event loop with it.
    """
    application = group.settings
    identity = {
        "name": slot.name,
        "role": application.name,
        "slot": slot.index,
        "generation": 1,
        "incarnation": slot.incarnation,
    }
    return {
        "identity": identity,
        "target": application.target,
        "options": dict(application.options),
        "state_dir": str(settings.state_dir.absolute()),
        "runtime_dir": str(settings.runtime_dir.absolute()),
        "ports": list(group.spec_ports()),
        "notify_path": str(notify_path.absolute()),
        "heartbeat_ms": settings.watchdog.heartbeat_ms,
        "nice": application.nice,
        "supervisor": os.getpid(),
    }
