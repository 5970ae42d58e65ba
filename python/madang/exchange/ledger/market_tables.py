"""The tables of market history; columns stand in the order in which `MarketRows` gives its rows."""

from __future__ import annotations

import sqlalchemy as sa

from madang.exchange.ledger.market_changes import BAR_COLUMNS, QUOTE_COLUMNS, TRADE_COLUMNS
from madang.exchange.ledger.tables import metadata

_TEXTS = ("volume", "value")


def _table(name: str, columns: tuple[str, ...], *keys: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        *(
            sa.Column(
                column,
                sa.String(48) if column in _TEXTS else sa.BigInteger(),
                primary_key=column in keys,
                autoincrement=False,
            )
            for column in columns
        ),
    )


trades = _table("trades", TRADE_COLUMNS, "trade_id")
bars = _table("bars", BAR_COLUMNS, "instrument", "span", "start_ns")
quotes = _table("quotes", QUOTE_COLUMNS, "instrument", "slot_ns")
market_state = sa.Table(
    "market_state",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("timezone", sa.String(64)),
)
