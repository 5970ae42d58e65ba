"""Reading recorded order flow."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from madang.exchange.replay import (
    Action,
    BitstampEvent,
    Level,
    LobsterMessage,
    LobsterRow,
    ReplayFileError,
    read_bitstamp,
    read_lobster_messages,
    read_lobster_rows,
)
from madang.exchange.replay.recording import LobsterEvents, OrderEvents, open_recording
from madang.exchange.replay.simple import read_simple
from madang.exchange.replay.venue import agreement
from madang.wire.codes import QUANTITY_SCALE, Side

HEADER = "id,timestamp,exchange.timestamp,price,volume,action,direction"


def test_a_lobster_message_is_read_exactly() -> None:
    lines = ["34200.18960767,1,11885113,21,2238100,1\n", "34200.2,4,5,7,100,-1,null\n"]
    assert list(read_lobster_messages(lines)) == [
        LobsterMessage(34_200_189_607_670, 1, 11_885_113, 21, 2_238_100, Side.BUY),
        LobsterMessage(34_200_200_000_000, 4, 5, 7, 100, Side.SELL),
    ]


def test_absent_levels_of_a_row_are_left_out() -> None:
    lines = ["2239500,100,2231800,50,9999999999,0,-9999999999,0\n"]
    assert list(read_lobster_rows(lines)) == [
        LobsterRow(bids=(Level(2_231_800, 50),), asks=(Level(2_239_500, 100),))
    ]


def test_a_bitstamp_event_is_read_in_the_markets_units() -> None:
    lines = [HEADER, "65595247,1430438404635,1430438404000,236.47,178855669,changed,bid"]
    assert list(read_bitstamp(lines)) == [
        BitstampEvent(
            65_595_247, 1_430_438_404_000, 2_364_700, 1_788_556_690, Action.CHANGED, Side.BUY
        )
    ]


@pytest.mark.parametrize(
    "line", ["", "1,2,3", "x,1,1,1,1,1", "1,1,1,1,1,0", "1,1,1,1.5,1,1", "NaN,1,1,1,1,1"]
)
def test_a_wrong_message_is_named_by_its_line(line: str) -> None:
    lines = ["34200.2,4,5,7,100,-1", line]
    with pytest.raises(ReplayFileError, match="line 2 is not a LOBSTER message"):
        list(read_lobster_messages(lines))


@pytest.mark.parametrize("line", ["", "1,2,3", "a,b,c,d"])
def test_a_wrong_row_is_named_by_its_line(line: str) -> None:
    with pytest.raises(ReplayFileError, match="line 1 is not a LOBSTER book row"):
        list(read_lobster_rows([line]))


@pytest.mark.parametrize("line", ["1,2,3,4,5,vanished,bid", "1,2,3,4,5,created,up", "1,2,3"])
def test_a_wrong_event_is_named_by_its_line(line: str) -> None:
    with pytest.raises(ReplayFileError, match="line 2 is not a Bitstamp order event"):
        list(read_bitstamp([HEADER, line]))


SIMPLE = "side,time,id,action,price,quantity\nbuy,1.5,7,place,99.5,2\nbuy,2,7,cancel,,\n"


def test_a_simple_csv_may_have_its_columns_in_any_order() -> None:
    placed, canceled = read_simple(SIMPLE.splitlines())
    assert placed == BitstampEvent(7, 1_500, 995_000, 2 * QUANTITY_SCALE, Action.CREATED, Side.BUY)
    assert (canceled.order_id, canceled.action) == (7, Action.DELETED)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("up,1,1,place,1,1", 2),
        ("buy,1,1,place,1.00001,1", 2),
        ("buy,1,1,place,-1,1", 2),
        ("buy,1,1", 2),
        ("buy,x,1,place,1,1", 2),
    ],
)
def test_a_row_of_a_simple_csv_that_cannot_be_meant_is_named(row: str, line: int) -> None:
    with pytest.raises(ReplayFileError) as caught:
        list(read_simple([SIMPLE.splitlines()[0], row]))
    assert caught.value.data["line"] == line
    with pytest.raises(ReplayFileError, match="column action"):
        list(read_simple(["time,id,side,price,quantity"]))


def test_a_recording_is_known_by_its_content_also_when_compressed(tmp_path: Path) -> None:
    packed = tmp_path / "orders.csv.gz"
    with gzip.open(packed, "wt") as file:
        file.write(SIMPLE)
    assert isinstance(open_recording(packed, None), OrderEvents)
    messages = tmp_path / "a_message_1.csv"
    messages.write_text("34200.1,1,11,100,1000000,1\n34200.2,3,11,100,1000000,1\n")
    assert isinstance(open_recording(messages, None), LobsterEvents)
    (tmp_path / "a_orderbook_1.csv").write_text("1000100,5,1000000,100\n")
    with pytest.raises(ReplayFileError, match="2 messages, but 1 rows"):
        open_recording(messages, None)


def test_levels_agree_only_where_price_and_quantity_do() -> None:
    wanted = {Side.BUY: {100: 5, 99: 7, 98: 1}, Side.SELL: {101: 3}}
    book = {Side.BUY: {100: 5, 99: 6, 98: 1}, Side.SELL: {}}
    assert agreement(wanted, book, 2) == (1, 3)
    assert agreement(wanted, wanted, 2) == (3, 3)
