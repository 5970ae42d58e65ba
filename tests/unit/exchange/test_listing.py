"""What an instrument may be called."""

from __future__ import annotations

import pytest

from madang.bus.subjects import check_subject
from madang.exchange.listing import is_exchange, is_symbol, subject_token


@pytest.mark.parametrize("symbol", ["A", "AAPL", "BRK.B", "BF-B", "005930", "A" * 16])
def test_what_clients_and_subjects_can_bear(symbol: str) -> None:
    assert is_symbol(symbol)
    assert subject_token(symbol) == symbol


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "aapl",
        "A B",
        "A,B",
        "A/B",
        ".",
        "A.",
        ".A",
        "A..B",
        "-",
        "삼성전자",
        "A*",
        ">",
        "A" * 17,
    ],
)
def test_what_they_cannot_is_no_symbol_but_has_a_subject(symbol: str) -> None:
    assert not is_symbol(symbol)
    check_subject(f"market.trades.{subject_token(symbol)}")


def test_two_symbols_never_share_a_subject() -> None:
    odd = ["a", "A ", " A", "~41", "41", "A"]
    assert len({subject_token(symbol) for symbol in odd}) == len(odd)


def test_an_exchange_is_one_that_clients_know() -> None:
    assert is_exchange("NASDAQ")
    assert not any(map(is_exchange, ("", "nasdaq", "XNAS", "FOO")))
