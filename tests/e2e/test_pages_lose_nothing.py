"""Orders of one instant are never split by the end of a page."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.venue_fixture import Venue, running_venue

THREADS = 16
EACH = 10


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann") as running:
        yield running


def _place(venue: Venue, _: int) -> list[str]:
    fields = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day"}
    return [str(venue.order("ann", **fields, qty=1, limit_price=1)["id"]) for _ in range(EACH)]


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_by_time_hold_every_order(venue: Venue, direction: str) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        placed = {
            i for some in threads.map(lambda n: _place(venue, n), range(THREADS)) for i in some
        }
    edge = "after" if direction == "asc" else "until"
    for status in ("open", "all"):
        seen: set[str] = set()
        path = f"/v2/orders?status={status}&direction={direction}&limit=7"
        page = venue.call("ann", "GET", path).rows()
        while page:
            seen |= {row["id"] for row in page}
            page = venue.call("ann", "GET", f"{path}&{edge}={page[-1]['created_at']}").rows()
        assert placed <= seen
