"""The overview: what a row says, how a day's line is thinned, and how little it asks."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from madang.bus import memory_bus_hub
from madang.core.ids import new_request_id
from madang.exchange import engine as engines
from madang.exchange.api.market_overview import POINTS_MAX, Line, Overview
from madang.exchange.directory import DirectoryReplica
from madang.exchange.feed.days import MINUTE_NS, Days
from madang.wire.commands import InstrumentTerms, encode_set_instrument
from tests.unit.exchange.test_api_directory import apply

DAY_NS = 1_800_000_000 * 10**9 // (86_400 * 10**9) * (86_400 * 10**9)


@given(st.dictionaries(st.integers(0, 1_440), st.integers(1, 10**9), min_size=1, max_size=1_440))
def test_a_line_has_a_limit_and_ends_with_the_newest(closes: dict[int, int]) -> None:
    points = Line(0, 7, closes).points()
    assert len(points) <= POINTS_MAX + 1
    assert points[0] == 7
    assert points[-1] == closes[max(closes)]
    if len(closes) <= POINTS_MAX:
        assert points[1:] == [closes[at] for at in sorted(closes)]


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.ns = 10**18

    def now_ns(self) -> int:
        """Return the time."""
        return self.ns

    def monotonic_ns(self) -> int:
        """Return the time."""
        return self.ns


class Ledger:
    """Answers one symbol that traded and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.minute = [DAY_NS + MINUTE_NS, 1_010_000, 1_020_000, 1_000_000, 1_015_000, "5", 2, "0"]

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer as the ledger does."""
        await asyncio.sleep(0)
        self.asked.append(question["kind"])
        if question["kind"] == "market_bars":
            first = [1, DAY_NS, 1_000_000, 1_000_000, 1_000_000, 1_005_000, "1", 1, "0"]
            return {"rows": [first, [1, *self.minute]], "next": None}
        day = [DAY_NS, 1_000_000, 1_020_000, 1_000_000, self.minute[4], "6000000000", 3, "0"]
        former = [DAY_NS - 1, 900_000, 900_000, 900_000, 900_000, "1", 1, "0"]
        return {"latest": {1: [None, None, self.minute, day, former]}}


class Feed:
    """A feed that is away."""

    async def symbols(self) -> list[object]:
        """Answer nothing."""
        return []


def test_a_burst_of_readers_is_one_question_and_lines_are_read_once() -> None:
    async def main() -> None:
        bus = memory_bus_hub().open("worker")
        replica = DirectoryReplica(bus)
        engine = engines.create()
        for symbol, price in ((b"KAI", 950_000), (b"NEW", 0)):
            terms = InstrumentTerms(symbol, reference_price=price)
            replica.directory.apply(apply(engine, encode_set_instrument(new_request_id(), terms)))
        ledger, clock = Ledger(), Clock()
        overview = Overview(ledger, Feed(), replica, Days("UTC"), clock)  # type: ignore[arg-type]
        answers = await asyncio.gather(*(overview.rows() for _ in range(50)))
        assert ledger.asked == ["market_latest", "market_bars"]
        kai, new = answers[0]
        assert (kai.symbol, kai.last, kai.change, kai.change_percent) == (
            "KAI",
            "101.5",
            "11.5",
            "12.78",
        )
        assert (kai.volume, kai.trades, kai.line) == ("6", 3, ["100", "100.5", "101.5"])
        assert (new.last, new.change, new.volume, new.line) == (None, None, None, [])
        assert answers[49] == answers[0]

        clock.ns += 10**9
        ledger.minute = [DAY_NS + 2 * MINUTE_NS, 1, 1, 1, 1_030_000, "1", 1, "0"]
        kai, _ = await overview.rows()
        assert ledger.asked[2:] == ["market_latest"]  # the line goes on with what is known
        assert kai.line == ["100", "100.5", "101.5", "103"]

        clock.ns += MINUTE_NS  # a minute may have been missed
        await overview.rows()
        assert ledger.asked[3:] == ["market_latest", "market_bars"]
        await bus.close()

    asyncio.run(main())
