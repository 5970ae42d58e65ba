"""The lease contract against each adapter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from madang.bus.lease import FileLease, Lease
from tests.contract.lease_contract import SCENARIOS, Factory

PLACES: dict[str, Callable[[Path], Lease]] = {"file": FileLease}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_lease_contract(scenario: Callable[[Factory], None], place: str, tmp_path: Path) -> None:
    scenario(partial(PLACES[place], tmp_path / "leases"))
