"""Whether a new generation may take over."""

from __future__ import annotations

import pytest

from madang.cluster import generations
from madang.cluster.generations import Course, Newcomer, Rules, Traffic
from madang.cluster.policy import State

RULES = Rules(start_ns=1_000_000_000, watch_ns=500, error_rate_max=0.1)
NONE = Traffic(0, 0)


def newcomers(*states: State, deaths: int = 0, last_exit: str = "") -> list[Newcomer]:
    found = [Newcomer(f"web-{slot}", state, 0, "") for slot, state in enumerate(states)]
    return [*found[:-1], Newcomer(found[-1].name, found[-1].state, deaths, last_exit)]


def test_all_must_be_ready_before_anything_else() -> None:
    starting = newcomers(State.READY, State.STARTING)
    assert generations.prepared(starting, 0, RULES).course is Course.WAIT
    ready = newcomers(State.READY, State.READY)
    assert generations.prepared(ready, 0, RULES).course is Course.GO_ON


@pytest.mark.parametrize(
    ("found", "waited_ns", "reason"),
    [
        (newcomers(State.READY, State.STARTING), 1_000_000_000, "web-1 not ready after 1000 ms"),
        (
            newcomers(State.READY, State.STARTING, deaths=1, last_exit="exit 1"),
            0,
            "web-1 ended: exit 1",
        ),
        (newcomers(State.BACKOFF), 0, "web-0 ended: backoff"),
        (newcomers(State.ERRORED, last_exit="SIGSEGV"), 0, "web-0 ended: SIGSEGV"),
    ],
)
def test_one_that_dies_or_is_late_gives_it_up(
    found: list[Newcomer], waited_ns: int, reason: str
) -> None:
    verdict = generations.prepared(found, waited_ns, RULES)
    assert (verdict.course, verdict.reason) == (Course.GIVE_UP, reason)


@pytest.mark.parametrize(
    ("old", "new", "course"),
    [
        (NONE, Traffic(19, 19), Course.WAIT),  # too few to say anything
        (NONE, Traffic(20, 2), Course.WAIT),
        (NONE, Traffic(20, 3), Course.GIVE_UP),
        (Traffic(1_000, 300), Traffic(100, 39), Course.WAIT),  # it was no better before
        (Traffic(1_000, 300), Traffic(100, 41), Course.GIVE_UP),
    ],
)
def test_more_errors_than_before_give_it_up(old: Traffic, new: Traffic, course: Course) -> None:
    verdict = generations.watched(newcomers(State.READY), old, new, 10, RULES)
    assert verdict.course is course
    assert ("answers were errors" in verdict.reason) == (course is Course.GIVE_UP)


def test_a_death_or_a_hang_in_the_watch_time_gives_it_up() -> None:
    died = newcomers(State.STARTING, deaths=1, last_exit="exit 9")
    verdict = generations.watched(died, NONE, NONE, 10, RULES)
    assert verdict == (Course.GIVE_UP, "web-0 ended: exit 9")
    stalled = newcomers(State.STALLED)
    assert generations.watched(stalled, NONE, NONE, 499, RULES).course is Course.WAIT
    verdict = generations.watched(stalled, NONE, NONE, 500, RULES)
    assert verdict == (Course.GIVE_UP, "web-0 hung in the watch time")


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [(50, 0, True), (50, 19, True), (50, 20, False), (0, 0, False), (0, 50, False)],
)
def test_who_was_hardly_spoken_to_is_watched_again(old: int, new: int, again: bool) -> None:
    found = generations.is_worth_another_watch(Traffic(old, 0), Traffic(new, 0))
    assert found is again


def test_the_watch_time_ends_well() -> None:
    verdict = generations.watched(newcomers(State.READY), NONE, Traffic(100, 0), 500, RULES)
    assert verdict.course is Course.GO_ON
