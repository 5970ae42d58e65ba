"""Power cuts by the hundred thousand, other ones each time unless MADANG_SEED is set."""

from __future__ import annotations

import os
import secrets
import sys

from tests.sim.world import Faults, World

SCHEDULES = int(os.environ.get("MADANG_SOAK_SCHEDULES", "100000"))
SEED_MAX = 2**32


def test_what_clients_were_told_survives_a_hundred_thousand_schedules() -> None:
    first = int(os.environ.get("MADANG_SEED", secrets.randbelow(SEED_MAX)))
    sys.stdout.write(f"MADANG_SEED={first} MADANG_SOAK_SCHEDULES={SCHEDULES}\n")
    restarts = 0
    for seed in range(first, first + SCHEDULES):
        world = World(seed, Faults())
        try:
            world.run()
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        restarts += world.restarts
    assert restarts > SCHEDULES
