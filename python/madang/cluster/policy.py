r"""The life of one instance as a table: `(state, event, now) -> (state, actions)`.

Pure: no clock, no random, no process. The supervisor feeds events and carries the actions out.

    IDLE -> STARTING -> READY <-> STALLED -> ABORTING      (silent, then ended by force)
               \_________\_________\__________\__ exit: STARTING again, BACKOFF, or ERRORED
    any -> STOPPING -> STOPPED

A process is watched from its first heartbeat on; one that never sends any is judged by its exit
only. Silence that is excused (it waits for the interpreter, or for a processor) puts the end off,
but not for ever.

Invariants: an instance is admitted to new connections exactly while READY; SPAWN is asked for only
when no process of the instance exists; the first restart is immediate, later ones back off with
jitter, and more than `max_restarts` runs in a row shorter than `min_uptime` end as ERRORED.
A pair of state and event is in TABLE, or in IGNORED, or a defect of the caller (AssertionError).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto

JITTER_SCALE = 1_000
MS = 1_000_000


class State(StrEnum):
    """Where an instance is in its life."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    STALLED = "stalled"
    ABORTING = "aborting"
    BACKOFF = "backoff"
    ERRORED = "errored"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Action(Enum):
    """What the supervisor has to do, in this order."""

    SPAWN = auto()
    ADMIT = auto()
    WITHDRAW = auto()
    TERMINATE = auto()
    ABORT = auto()
    KILL = auto()
    REPORT = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one application, in nanoseconds."""

    start_ns: int
    stop_ns: int
    stall_ns: int
    abort_ns: int
    kill_ns: int
    busy_ns: int
    min_uptime_ns: int
    backoff_ns: int
    backoff_max_ns: int
    max_restarts: int


@dataclass(frozen=True, slots=True)
class Instance:
    """The policy's whole knowledge of one instance. Times are monotonic nanoseconds."""

    state: State = State.IDLE
    since_ns: int = 0
    started_ns: int = 0
    ready_ns: int | None = None
    heartbeat_ns: int = 0
    watched: bool = False
    excused_ns: int = 0
    resume_ns: int = 0
    failures: int = 0
    restarts: int = 0
    last_exit: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """The operator or the start of the cluster wants the instance to run."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The child said READY=1."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The child showed that its loop runs."""


@dataclass(frozen=True, slots=True)
class Excused:
    """For `span_ns` of its silence the child could not have spoken, for it was not its turn."""

    span_ns: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended, or could not be made; the caller draws `jitter`, 0 to JITTER_SCALE."""

    reason: str
    jitter: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The operator or the end of the cluster wants the instance to end."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End it without grace."""


Event = Start | Ready | Heartbeat | Excused | Exited | Tick | Stop | Kill
Step = tuple[Instance, tuple[Action, ...]]
Rule = Callable[[Instance, Event, int, Limits], Step]
EVENTS: tuple[type[Event], ...] = (
    Start,
    Ready,
    Heartbeat,
    Excused,
    Exited,
    Tick,
    Stop,
    Kill,
)


def step(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    """Return what the instance becomes by `event`, and what has to be done for it."""
    pair = (instance.state, type(event))
    rule = TABLE.get(pair)
    if rule is None:
        assert pair in IGNORED, f"{instance.state} cannot see {type(event).__name__}"
        return instance, ()
    return rule(instance, event, now_ns, limits)


def deadline_ns(instance: Instance, limits: Limits) -> int | None:
    """Return when the instance next needs a Tick, or None when only an event can move it."""
    match instance.state:
        case State.STARTING:
            return instance.since_ns + limits.start_ns
        case State.READY if instance.watched:
            return instance.heartbeat_ns + limits.stall_ns
        case State.STALLED:
            return _abort_at_ns(instance, limits)
        case State.ABORTING:
            return instance.since_ns + limits.kill_ns
        case State.STOPPING:
            return instance.since_ns + limits.stop_ns
        case State.BACKOFF:
            return instance.resume_ns
        case _:
            return None


def backoff_ns(failures: int, jitter: int, limits: Limits) -> int:
    """Return the wait before the restart after `failures` short runs in a row.

    0 after the first, then doubling to the limit; `jitter` spreads the upper half.
    """
    if failures <= 1:
        return 0
    full = min(limits.backoff_ns << min(failures - 2, 32), limits.backoff_max_ns)
    return full // 2 + full // 2 * jitter // JITTER_SCALE


def forget_restarts(instance: Instance) -> Instance:
    """Return the instance with clean counters; nothing else changes."""
    return replace(instance, failures=0, restarts=0, last_exit="")


def _abort_at_ns(instance: Instance, limits: Limits) -> int:
    patience_ns = min(limits.abort_ns + instance.excused_ns, limits.busy_ns)
    return instance.heartbeat_ns + max(patience_ns, limits.abort_ns)


def _enter(instance: Instance, state: State, now_ns: int) -> Instance:
    return replace(instance, state=state, since_ns=now_ns)


def _spawn(instance: Instance, now_ns: int) -> Instance:
    fresh = replace(
        instance,
        started_ns=now_ns,
        ready_ns=None,
        heartbeat_ns=now_ns,
        watched=False,
        excused_ns=0,
        cause="",
    )
    return _enter(fresh, State.STARTING, now_ns)


def _start(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    return _spawn(replace(instance, failures=0), now_ns), (Action.SPAWN,)


def _ready(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    ready = replace(instance, ready_ns=now_ns, heartbeat_ns=now_ns)
    return _enter(ready, State.READY, now_ns), (Action.ADMIT,)


def _beat(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    return replace(instance, heartbeat_ns=now_ns, watched=True), ()


def _excuse(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    assert isinstance(event, Excused)
    return replace(instance, excused_ns=instance.excused_ns + event.span_ns), ()


def _recover(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    alive = replace(instance, heartbeat_ns=now_ns, watched=True, excused_ns=0)
    return _enter(alive, State.READY, now_ns), (Action.ADMIT,)


def _tick_starting(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    if now_ns < instance.since_ns + limits.start_ns:
        return instance, ()
    late = replace(instance, cause=f"not ready after {limits.start_ns // MS} ms")
    return _enter(late, State.ABORTING, now_ns), (Action.ABORT,)


def _tick_ready(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    if not instance.watched or now_ns < instance.heartbeat_ns + limits.stall_ns:
        return instance, ()
    return _enter(instance, State.STALLED, now_ns), (Action.WITHDRAW,)


def _tick_stalled(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    at_ns = _abort_at_ns(instance, limits)
    if now_ns < at_ns:
        return instance, ()
    silent_ms = (at_ns - instance.heartbeat_ns) // MS
    hung = replace(instance, cause=f"hung: no heartbeat for {silent_ms} ms")
    return _enter(hung, State.ABORTING, now_ns), (Action.ABORT,)


def _tick_aborting(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    if now_ns < instance.since_ns + limits.kill_ns:
        return instance, ()
    return _enter(instance, State.ABORTING, now_ns), (Action.KILL,)


def _tick_backoff(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    if now_ns < instance.resume_ns:
        return instance, ()
    again = replace(instance, restarts=instance.restarts + 1)
    return _spawn(again, now_ns), (Action.SPAWN,)


def _tick_stopping(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    if now_ns < instance.since_ns + limits.stop_ns:
        return instance, ()
    late = replace(instance, cause=f"did not stop in {limits.stop_ns // MS} ms")
    return _enter(late, State.STOPPING, now_ns), (Action.KILL,)


def _exited(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    assert isinstance(event, Exited)
    stable = instance.ready_ns is not None and now_ns - instance.ready_ns >= limits.min_uptime_ns
    failures = 0 if stable else instance.failures + 1
    ended = replace(instance, failures=failures, last_exit=_exit_text(instance, event))
    before = (Action.WITHDRAW,) if instance.state is State.READY else ()
    if failures > limits.max_restarts:
        return _enter(ended, State.ERRORED, now_ns), (*before, Action.REPORT)
    wait_ns = backoff_ns(failures, event.jitter, limits)
    if wait_ns == 0:
        again = replace(ended, restarts=ended.restarts + 1)
        return _spawn(again, now_ns), (*before, Action.SPAWN)
    waiting = replace(ended, resume_ns=now_ns + wait_ns, ready_ns=None)
    return _enter(waiting, State.BACKOFF, now_ns), before


def _exited_stopping(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    assert isinstance(event, Exited)
    ended = replace(instance, last_exit=_exit_text(instance, event), ready_ns=None)
    return _enter(ended, State.STOPPED, now_ns), ()


def _exit_text(instance: Instance, event: Exited) -> str:
    return f"{instance.cause} ({event.reason})" if instance.cause else event.reason


def _stop_live(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    before = (Action.WITHDRAW,) if instance.state is State.READY else ()
    return _enter(instance, State.STOPPING, now_ns), (*before, Action.TERMINATE)


def _stop_dead(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    return _enter(instance, State.STOPPED, now_ns), ()


def _kill_live(instance: Instance, event: Event, now_ns: int, limits: Limits) -> Step:
    before = (Action.WITHDRAW,) if instance.state is State.READY else ()
    return _enter(instance, State.STOPPING, now_ns), (*before, Action.KILL)


S = State
TABLE: dict[tuple[State, type[Event]], Rule] = {
    (S.IDLE, Start): _start,
    (S.ERRORED, Start): _start,
    (S.STOPPED, Start): _start,
    (S.STARTING, Ready): _ready,
    (S.STALLED, Ready): _recover,
    (S.STARTING, Heartbeat): _beat,
    (S.READY, Heartbeat): _beat,
    (S.STALLED, Excused): _excuse,
    (S.STALLED, Heartbeat): _recover,
    (S.STARTING, Tick): _tick_starting,
    (S.READY, Tick): _tick_ready,
    (S.STALLED, Tick): _tick_stalled,
    (S.ABORTING, Tick): _tick_aborting,
    (S.BACKOFF, Tick): _tick_backoff,
    (S.STOPPING, Tick): _tick_stopping,
    (S.STARTING, Exited): _exited,
    (S.READY, Exited): _exited,
    (S.STALLED, Exited): _exited,
    (S.ABORTING, Exited): _exited,
    (S.STOPPING, Exited): _exited_stopping,
    (S.STARTING, Stop): _stop_live,
    (S.READY, Stop): _stop_live,
    (S.STALLED, Stop): _stop_live,
    (S.ABORTING, Stop): _kill_live,
    (S.IDLE, Stop): _stop_dead,
    (S.BACKOFF, Stop): _stop_dead,
    (S.ERRORED, Stop): _stop_dead,
    (S.STARTING, Kill): _kill_live,
    (S.READY, Kill): _kill_live,
    (S.STALLED, Kill): _kill_live,
    (S.ABORTING, Kill): _kill_live,
    (S.STOPPING, Kill): _kill_live,
    (S.IDLE, Kill): _stop_dead,
    (S.BACKOFF, Kill): _stop_dead,
    (S.ERRORED, Kill): _stop_dead,
}
_SILENT: tuple[tuple[State, tuple[type[Event], ...]], ...] = (
    (S.IDLE, (Tick,)),
    (S.STARTING, (Start, Excused)),
    (S.READY, (Start, Ready, Excused)),
    (S.STALLED, (Start,)),
    (S.ABORTING, (Start, Ready, Heartbeat, Excused)),
    (S.BACKOFF, (Start,)),
    (S.ERRORED, (Tick,)),
    (S.STOPPING, (Start, Stop, Ready, Heartbeat, Excused)),
    (S.STOPPED, (Stop, Kill, Tick)),
)
IGNORED = frozenset((state, event) for state, events in _SILENT for event in events)
