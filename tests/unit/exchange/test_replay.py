"""Reading recorded order flow."""

from __future__ import annotations

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
from madang.wire.codes import Side

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
