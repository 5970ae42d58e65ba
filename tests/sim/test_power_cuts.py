"""Power cuts, kills, full and failing disks: what clients were told stays true.

Each schedule is one seed; a failure names it, and `World(seed, Faults()).run()` replays it.
"""

from __future__ import annotations

import time

import pytest

from madang.exchange.venue.errors import LogDamaged
from tests.sim.checker import Violation
from tests.sim.world import Faults, World

SCHEDULES = 2_000
BUDGET_S = 60.0
SEEDS_OF_A_MUTANT = 200


def test_what_clients_were_told_survives_thousands_of_schedules() -> None:
    started = time.monotonic()
    restarts = torn_tails = removed = told = 0
    for seed in range(SCHEDULES):
        world = World(seed, Faults())
        try:
            world.run()
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        restarts += world.restarts
        torn_tails += world.torn_tails
        removed += world.removed
        told += len(world.checker.outcomes)
    assert restarts > SCHEDULES, "power cuts and kills happen"
    assert torn_tails > SCHEDULES // 50, "tails tear"
    assert removed > 0, "old segments are removed"
    assert told > SCHEDULES * 10, "clients are told outcomes"
    assert time.monotonic() - started < 5 * BUDGET_S


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(Faults(fdatasync_lies=True), id="without fdatasync"),
        pytest.param(Faults(answer_first=True), id="answering before it is durable"),
    ],
)
def test_a_venue_that_breaks_the_promise_is_found(faults: Faults) -> None:
    found = 0
    for seed in range(SEEDS_OF_A_MUTANT):
        try:
            World(seed, faults).run()
        except (Violation, LogDamaged):
            found += 1
    assert found > SEEDS_OF_A_MUTANT // 20


def test_without_faults_taken_out_the_same_schedules_hold() -> None:
    for seed in range(SEEDS_OF_A_MUTANT):
        World(seed, Faults()).run()
