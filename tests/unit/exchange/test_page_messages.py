"""What `/web/stream` says is what the vectors say; the page's own test reads the same ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from madang.exchange.api.feed_client import Tick
from madang.exchange.feed.bars import Bar
from madang.exchange.feed.depth import DepthState
from madang.exchange.stream import page_messages as say
from madang.wire.codes import Side

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "page_stream.json").read_text()
)
SHARE = 1_000_000_000


def test_books_and_changes() -> None:
    bids = {2_273_100: 120 * SHARE, 2_273_000: 81 * SHARE // 2}
    state = DepthState(7, bids, {2_273_300: 80 * SHARE})
    assert json.loads(say.book_message("AAPL", state)) == VECTORS["book"]
    changed = [(2_273_000, 0), (2_273_200, 15 * SHARE)]
    message = say.change_message("AAPL", 7, 12, changed, [(2_274_000, SHARE + 1)])
    assert json.loads(message) == VECTORS["change"]


def test_trades_the_day_and_the_rest() -> None:
    now_ns = 1_795_324_200 * 10**9 + 1
    tick = Tick(5012, 2_273_300, 20 * SHARE, int(Side.BUY), now_ns)
    assert json.loads(say.trades_message("AAPL", [tick], whole=False)) == VECTORS["trades"]
    assert json.loads(say.status_message("AAPL", "halted")) == VECTORS["status"]
    day = Bar(
        1_795_305_600 * 10**9, 2_269_000, 2_280_000, 2_265_000, 2_273_300,
        10_400 * SHARE + SHARE // 4, 311, 1,
    )  # fmt: skip
    assert json.loads(say.day_message("AAPL", day, 2_267_500, 5012)) == VECTORS["day"]
    assert json.loads(say.health_message(venue=False, feed=True)) == VECTORS["health"]
