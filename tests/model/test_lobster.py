"""The engine against recorded order flow: its book after every event, its fills order by order."""

from __future__ import annotations

from pathlib import Path

import pytest

from madang.exchange.engine import create
from madang.exchange.engine.levels import Level
from madang.exchange.engine.port import Engine
from madang.exchange.replay import read_lobster_messages, read_lobster_rows
from tests.support.data import data_file
from tests.support.lobster import Agreement, LobsterGenerator, replay_lobster
from tests.support.market import ENGINES

SAMPLE = Path(__file__).parents[1] / "vectors" / "lobster"
SAMPLE_SEED = 3
SAMPLE_EVENTS = 600


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return create(request.param)


def replay_files(engine: Engine, messages: Path, rows: Path) -> Agreement:
    with messages.open() as message_lines, rows.open() as row_lines:
        return replay_lobster(
            engine,
            list(read_lobster_messages(message_lines)),
            list(read_lobster_rows(row_lines)),
        )


def test_the_sample_is_what_its_generator_makes() -> None:
    messages, rows = LobsterGenerator(SAMPLE_SEED, 5).lines(SAMPLE_EVENTS)
    assert (SAMPLE / "message_5.csv").read_text().splitlines() == messages
    assert (SAMPLE / "orderbook_5.csv").read_text().splitlines() == rows


def test_the_sample_replays_at_the_best_price_and_order_by_order(engine: Engine) -> None:
    agreement = replay_files(engine, SAMPLE / "message_5.csv", SAMPLE / "orderbook_5.csv")
    assert agreement.rows == 599
    assert agreement.best == 599
    assert agreement.all_levels == 563  # the others show a level of which nothing was known
    assert agreement.executions.exceptions == []
    assert agreement.executions.unknown == []
    assert len(agreement.executions.introduced) == 107
    assert len(agreement.executions.seeded) == 20
    assert agreement.missing == 0


@pytest.mark.parametrize("seed", range(20, 26))
@pytest.mark.parametrize("levels", [1, 5, 10])
def test_generated_flow_fills_exactly_the_orders_that_are_named(
    engine: Engine, seed: int, levels: int
) -> None:
    messages, rows = LobsterGenerator(seed, levels).lines(400)
    agreement = replay_lobster(
        engine, list(read_lobster_messages(messages)), list(read_lobster_rows(rows))
    )
    executions = agreement.executions
    assert executions.exceptions == []
    assert len(executions.introduced) + len(executions.seeded) > 30
    if levels > 1:
        assert agreement.best == agreement.rows


def test_a_book_that_serves_the_youngest_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Level, "head", lambda self: next(reversed(self.orders.values())))
    messages, rows = LobsterGenerator(SAMPLE_SEED, 5).lines(SAMPLE_EVENTS)
    agreement = replay_lobster(
        create("python"), list(read_lobster_messages(messages)), list(read_lobster_rows(rows))
    )
    assert len(agreement.executions.exceptions) > 10


def test_amazon_replays_at_every_row_and_order_by_order(engine: Engine) -> None:
    agreement = replay_files(
        engine,
        data_file("lobster_amzn_l5/*_message_5*.csv"),
        data_file("lobster_amzn_l5/*_orderbook_5*.csv"),
    )
    assert agreement.rows == 999
    assert agreement.best == 999
    assert agreement.all_levels == 980
    assert agreement.executions.exceptions == []
    assert agreement.executions.unknown == []
    assert len(agreement.executions.introduced) == 113
    assert len(agreement.executions.seeded) == 15
    assert agreement.missing == 0
