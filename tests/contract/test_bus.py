"""The bus contract against each adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from madang.bus import Bus, BusLimits, BusSettings, memory_bus_hub, open_unix_bus
from madang.bus.lanes import Lanes
from tests.contract import lanes_contract, work_contract
from tests.contract.bus_contract import LIMITS, SCENARIOS, Ground, Scenario


class _Ground:
    def __init__(self) -> None:
        self._opened: list[Bus] = []

    async def crash(self, bus: Bus) -> None:
        assert isinstance(bus, Lanes)
        bus.abort()

    async def close(self) -> None:
        for bus in self._opened:
            await bus.close()


class MemoryGround(_Ground):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._hub = memory_bus_hub()

    async def open(self, name: str, limits: BusLimits = LIMITS) -> Bus:
        self._opened.append(self._hub.open(name, limits))
        return self._opened[-1]


class UnixGround(_Ground):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder / "bus"

    async def open(self, name: str, limits: BusLimits = LIMITS) -> Bus:
        self._opened.append(await open_unix_bus(BusSettings(name, self._folder, limits)))
        return self._opened[-1]


GROUNDS: dict[str, Callable[[Path], Ground]] = {"memory": MemoryGround, "unix": UnixGround}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize(
    "scenario",
    [*SCENARIOS, *work_contract.SCENARIOS, *lanes_contract.SCENARIOS],
    ids=lambda scenario: scenario.__name__,
)
def test_bus_contract(scenario: Scenario, ground: str, loop: str, tmp_path: Path) -> None:
    async def main() -> None:
        place = GROUNDS[ground](tmp_path)
        try:
            await asyncio.wait_for(scenario(place), 60)
        finally:
            await place.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(main())
