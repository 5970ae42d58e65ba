"""Unmodified trading clients over a running venue, and how they are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.alpaca import APIError, TradingClient
from tests.support.venue_fixture import Venue

MakeClient = Callable[..., TradingClient]


@contextmanager
def trading_clients(venue: Venue) -> Iterator[MakeClient]:
    """Yield a maker of clients by name, raw or not, each with connections of its own."""
    made: list[TradingClient] = []

    def client(name: str, *, raw: bool = False) -> TradingClient:
        person = venue.people[name]
        made.append(
            TradingClient(person.key_id, person.secret, url_override=venue.url, raw_data=raw)
        )
        return made[-1]

    yield client
    for one in made:
        one._session.close()


def refused(call: Callable[[], object], status: int, *words: str) -> None:
    """Assert that a call is refused so, in words that a person can use."""
    with pytest.raises(APIError) as caught:
        call()
    assert caught.value.status_code == status
    assert all(word in caught.value.message for word in words), caught.value.message
    assert caught.value.code
