"""Five hours of Bitstamp order events: how many changes and deletes find the order they name."""

from __future__ import annotations

import lzma

import pytest

from madang.exchange.engine import create
from madang.exchange.replay import BitstampReplay, Found, drive, read_bitstamp, set_up
from madang.wire.commands import InstrumentTerms
from tests.support.data import data_file
from tests.support.market import ENGINES

MAKERS = 4


@pytest.mark.parametrize("kind", ENGINES)
def test_changes_and_deletes_find_the_orders_they_name(kind: str) -> None:
    engine = create(kind)
    terms = InstrumentTerms(b"BTCUSD", exchange=b"BITSTAMP", tick=1, collar_bps=10_000)
    replay = BitstampReplay(drive(engine, set_up(terms, MAKERS)), b"bitstamp")
    with lzma.open(data_file("bitstamp_l3/orders.csv.xz"), "rt") as lines:
        for event in read_bitstamp(lines):
            drive(engine, replay.apply(event))
    engine.check()
    # 467 of 602 changes and 24,184 of 24,918 deletes find their order in the book; nearly all of
    # the others name one that the engine has filled, because it matches where the file shows it.
    assert replay.changes == Found(live=467, filled=131, unknown=4)
    assert replay.deletes == Found(live=24_184, filled=547, unknown=187)
    assert (replay.changes.live + replay.deletes.live) / (602 + 24_918) > 0.965
    assert replay.trades == 517
