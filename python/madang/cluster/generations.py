"""Whether a new generation may take over: pure judgement of what was seen of it.

    PREPARING: all ready -> go on;  one died, or time is up -> abandon
    WATCHING:  time is up and all is well -> go on;  a death, a hang, too many errors -> return

Clients that keep their connections speak to the old generation during the watch. Where they are the
only ones who speak, the new one is watched once more when it has their connections; the old one is
there until then, so that a return costs nobody a connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from madang.cluster.policy import MS, State

REQUESTS_MIN = 20
"""Fewer answers than this say nothing about a rate of errors."""
DEATHS = frozenset({State.BACKOFF, State.ERRORED, State.ABORTING, State.STOPPED, State.STOPPING})


class Course(Enum):
    """What to do next."""

    WAIT = auto()
    GO_ON = auto()
    GIVE_UP = auto()


class Verdict(NamedTuple):
    """The course, and why when it is GIVE_UP."""

    course: Course
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What was seen of one instance of the new generation."""

    name: str
    state: State
    deaths: int
    last_exit: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a generation has answered, and how much of it with 5xx."""

    requests: int
    errors: int

    def says_something(self) -> bool:
        """Tell whether there are enough answers for a rate of errors."""
        return self.requests >= REQUESTS_MIN

    def rate(self) -> float:
        """Return the part that were errors, 0 where there is too little to say."""
        return self.errors / self.requests if self.says_something() else 0.0

    def since(self, before: Traffic) -> Traffic:
        """Return what was answered after `before`."""
        return Traffic(self.requests - before.requests, self.errors - before.errors)


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of one application."""

    start_ns: int
    watch_ns: int
    error_rate_max: float


WAIT = Verdict(Course.WAIT)
GO_ON = Verdict(Course.GO_ON)


def prepared(newcomers: Sequence[Newcomer], waited_ns: int, rules: Rules) -> Verdict:
    """Judge a generation that is getting ready."""
    fallen = _fallen(newcomers)
    if fallen:
        return Verdict(Course.GIVE_UP, fallen)
    late = [one.name for one in newcomers if one.state not in (State.READY, State.STALLED)]
    if not late:
        return GO_ON
    if waited_ns >= rules.start_ns:
        text = f"{', '.join(late)} not ready after {rules.start_ns // MS} ms"
        return Verdict(Course.GIVE_UP, text)
    return WAIT


def watched(
    newcomers: Sequence[Newcomer], old: Traffic, new: Traffic, watched_ns: int, rules: Rules
) -> Verdict:
    """Judge a generation that serves and is watched; `new` counts from the moment it did."""
    fallen = _fallen(newcomers)
    if fallen:
        return Verdict(Course.GIVE_UP, fallen)
    if new.rate() > old.rate() + rules.error_rate_max:
        text = f"{new.errors} of {new.requests} answers were errors"
        return Verdict(Course.GIVE_UP, f"{text} ({old.rate():.1%} before)")
    if watched_ns < rules.watch_ns:
        return WAIT
    hung = [one.name for one in newcomers if one.state is not State.READY]
    if hung:
        return Verdict(Course.GIVE_UP, f"{', '.join(hung)} hung in the watch time")
    return GO_ON


def is_worth_another_watch(old: Traffic, new: Traffic) -> bool:
    """Tell whether requests went to the `old` generation where the `new` one should be judged."""
    return old.requests > 0 and not new.says_something()


def _fallen(newcomers: Sequence[Newcomer]) -> str:
    """Return who died and how, "" while all live."""
    for one in newcomers:
        if one.deaths or one.state in DEATHS:
            return f"{one.name} ended: {one.last_exit or one.state}"
    return ""
