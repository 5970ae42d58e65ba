"""Numbers beyond 64 bits in a question are answered, and the reads of everybody go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.venue_fixture import Venue, running_venue


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", workers=1) as running:
        yield running


@pytest.mark.parametrize("times", ["after=0001-01-01", "until=9999-12-31", "after=1600-01-01"])
@pytest.mark.parametrize("status", ["open", "all"])
def test_times_beyond_the_clock_do_not_restrict(venue: Venue, times: str, status: str) -> None:
    order = venue.order(
        "ann", symbol="AAPL", side="buy", type="limit", time_in_force="day", qty=1, limit_price=90
    )
    rows = venue.call("ann", "GET", f"/v2/orders?status={status}&{times}").rows()
    assert order["id"] in [row["id"] for row in rows]


@pytest.mark.parametrize("times", ["after=2300-01-01", "after=9999-12-31", "until=0001-01-01"])
def test_nothing_is_beyond_the_end_of_time(venue: Venue, times: str) -> None:
    assert venue.call("ann", "GET", f"/v2/orders?status=all&{times}").rows() == []
    assert venue.call("ann", "GET", "/v2/account").status == 200


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
@pytest.mark.parametrize("head", ["ffffffff-ffff", "7fffffff-ffff"])
def test_an_order_number_beyond_64_bits_is_not_found(venue: Venue, method: str, head: str) -> None:
    body = {"qty": "2"} if method == "PATCH" else None
    path = f"/v2/orders/{head}-80de-8ada-4d610de0ffff"
    assert venue.call("ann", method, path, body).status == 404
    assert venue.call("ann", "GET", "/v2/account").status == 200
