"""Pure judgements of the upkeep: load, wear, silence; and the scoreboard that they read."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.cluster import autoscale, recycle, watchdog
from madang.cluster.autoscale import Load, Scaling
from madang.cluster.policy import MS
from madang.cluster.recycle import Wear
from madang.cluster.scoreboard import CELLS, ROWS_MAX, Scoreboard, Scores
from madang.cluster.settings import ApplicationSettings, AutoscaleSettings

LIMITS = AutoscaleSettings(1, 4, up_after_ms=2_000, down_after_ms=5_000)
SECOND_NS = 1_000 * MS


def run(*loads: tuple[float, float], instances: int = 1) -> list[int]:
    """Feed one load a second; return the numbers of instances."""
    scaling, found = Scaling(), []
    for second, (cpu, lag) in enumerate(loads):
        load = Load(cpu, lag)
        scaling, instances = autoscale.step(scaling, load, instances, second * SECOND_NS, LIMITS)
        found.append(instances)
    return found


def test_lasting_load_adds_one_at_a_time_up_to_the_limit() -> None:
    assert run(*[(90, 0)] * 8) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert run(*[(10, 500)] * 3) == [1, 1, 2]  # a lagging loop is load too


def test_a_peak_that_passes_changes_nothing() -> None:
    assert run((90, 0), (90, 0), (50, 0), (90, 0), (90, 0), (50, 0)) == [1] * 6


def test_lasting_rest_takes_one_away_if_the_others_can_carry_it() -> None:
    assert run(*[(10, 0)] * 12, instances=3)[-1] == 1
    assert run(*[(30, 0)] * 12, instances=2) == [2] * 12  # one alone would be at 60


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1_000)), max_size=60))
def test_it_stays_within_its_limits_and_moves_by_one(loads: list[tuple[float, float]]) -> None:
    found = [1, *run(*loads)]
    assert all(1 <= count <= 4 for count in found)
    assert all(abs(b - a) <= 1 for a, b in itertools.pairwise(found))


def test_a_number_outside_of_the_limits_is_brought_inside() -> None:
    assert run((50, 0), instances=9) == [4]


@pytest.mark.parametrize(
    ("wear", "reason"),
    [
        (Wear(0, 100 << 20, 99, 999), ""),
        (Wear(0, (100 << 20) + 1, 0, 0), "memory 100 MB over 100 MB"),
        (Wear(0, 0, 100, 0), "age 100 s over 100 s"),
        (Wear(1, 0, 100, 0), ""),  # ages are spread over the slots
        (Wear(1, 0, 101, 0), "age 101 s over 100 s"),
        (Wear(0, 0, 0, 1_000), "1000 requests over 1000"),
    ],
)
def test_wear_has_limits(wear: Wear, reason: str) -> None:
    limits = ApplicationSettings(
        "web", "a:b", memory_max_bytes=100 << 20, age_max_s=100, requests_max=1_000
    )
    assert recycle.reason(wear, limits) == reason
    assert recycle.reason(wear, ApplicationSettings("web", "a:b")) == ""


@pytest.mark.parametrize(
    ("before", "after", "excused"),
    [
        ((100, 0), (120, 0), 100 * MS),  # asks for the interpreter 200 times a second
        ((100, 0), (100, 0), 0),  # sleeps, or computes without end
        ((100, 0), (101, 60 * MS), 60 * MS),  # waited for a processor
        ((100, 0), (101, 500 * MS), 100 * MS),
        ((100, 9), (0, 0), 0),  # gone
    ],
)
def test_silence_is_excused_while_it_is_not_its_turn(
    before: tuple[int, int], after: tuple[int, int], excused: int
) -> None:
    assert watchdog.excused_ns(before, after, 100 * MS) == excused


def test_what_a_process_writes_the_supervisor_reads() -> None:
    board = Scoreboard.create()
    row = board.take()
    assert row is not None
    reader = board.scores(row)
    child = os.fork()
    if child == 0:
        own = Scoreboard(board.descriptor).scores(row)
        own.connections = 7
        own.requests += 3
        os._exit(0)
    os.waitpid(child, 0)
    assert (reader.connections, reader.requests, reader.errors) == (7, 3, 0)
    assert reader.table() | {"connections": 7} == reader.table()
    board.give_back(row)
    assert board.take() == row
    assert board.scores(row).connections == 0
    board.close()


def test_rows_are_their_own_and_run_out() -> None:
    board = Scoreboard.create()
    taken = [board.take() for _ in range(ROWS_MAX)]
    assert len(set(taken)) == ROWS_MAX
    assert board.take() is None
    first, last = board.scores(0), board.scores(ROWS_MAX - 1)
    for index, name in enumerate(CELLS, 1):
        setattr(first, name, index)
    assert last.table() == dict.fromkeys(CELLS, 0)
    assert list(first.table().values()) == list(range(1, len(CELLS) + 1))
    assert Scores().table() == dict.fromkeys(CELLS, 0)
    board.close()
