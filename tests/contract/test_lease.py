"""The lease contract against each adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from madang.bus.lease import FileLease, MemoryLease
from tests.contract.lease_contract import SCENARIOS, Factory


def in_files(folder: Path) -> Factory:
    return lambda: FileLease(folder)


def in_memory(folder: Path) -> Factory:
    place = MemoryLease()
    return lambda: place


PLACES: dict[str, Callable[[Path], Factory]] = {"file": in_files, "memory": in_memory}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_lease_contract(scenario: Callable[[Factory], None], place: str, tmp_path: Path) -> None:
    scenario(PLACES[place](tmp_path / "leases"))
