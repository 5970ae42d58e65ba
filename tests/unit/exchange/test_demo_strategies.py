"""The simulated traders: seeded, sane, and not all alike."""

from __future__ import annotations

from madang.exchange.demo.strategies import CENT, Maker, Taker, price_text

from madang.exchange.demo.people import SYMBOLS
from madang.wire.codes import PRICE_SCALE

FIRST = {symbol: price for symbol, (_, price) in SYMBOLS.items()}
TURNS = 5_000


def test_the_same_seed_gives_the_same_quotes_and_another_does_not() -> None:
    def quotes(seed: int) -> list[object]:
        maker = Maker(seed, FIRST)
        return [maker.quotes(maker.next_symbol()) for _ in range(50)]

    assert quotes(1) == quotes(1)
    assert quotes(1) != quotes(2)


def test_a_makers_own_quotes_never_cross_and_prices_stay_near_where_they_began() -> None:
    maker = Maker(7, FIRST)
    for _ in range(TURNS):
        symbol = maker.next_symbol()
        quotes = maker.quotes(symbol)
        bids = [q.price for q in quotes if q.side == "buy"]
        asks = [q.price for q in quotes if q.side == "sell"]
        assert max(bids) < min(asks)
        assert all(q.price % CENT == 0 and q.price > 0 and q.shares > 0 for q in quotes)
        assert FIRST[symbol] // 2 < maker.fair[symbol] < FIRST[symbol] * 2


def test_takers_buy_and_sell_every_symbol() -> None:
    taker = Taker(3, list(SYMBOLS))
    strikes = [taker.strike() for _ in range(TURNS)]
    for symbol in SYMBOLS:
        buys = sum(s.side == "buy" for s in strikes if s.symbol == symbol)
        total = sum(s.symbol == symbol for s in strikes)
        assert 0.2 < buys / total < 0.8


def test_prices_are_written_with_two_decimals() -> None:
    assert price_text(227 * PRICE_SCALE + 5 * CENT) == "227.05"
