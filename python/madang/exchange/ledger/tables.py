"""The ledger's tables as SQLAlchemy sees them; `migrations/` makes them.

Integers in the venue's units. `orders` holds every order once, as it last stood; `fills` has one
row per side of a trade; `progress` holds the last log sequence whose rows are in and that command's
time, written in the same transaction as the rows. Columns stand in the order in which `Changes`
gives its rows.
"""

from __future__ import annotations

import sqlalchemy as sa

from madang.exchange.ledger.changes import FILL_COLUMNS, ORDER_COLUMNS, TRANSFER_COLUMNS
from madang.wire.events import Order

_TEXTS = {"filled_value": 40, "client_order_id": 128}

metadata = sa.MetaData()

progress = sa.Table(
    "progress",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sequence", sa.BigInteger),
    sa.Column("now_ns", sa.BigInteger),
)


def _table(table: str, columns: tuple[str, ...], key: str) -> sa.Table:
    return sa.Table(
        table,
        metadata,
        *(
            sa.Column(
                name,
                sa.String(_TEXTS[name]) if name in _TEXTS else sa.BigInteger(),
                primary_key=name == key,
                autoincrement=False,
            )
            for name in columns
        ),
    )


orders = _table("orders", ORDER_COLUMNS, "order_id")
fills = _table("fills", FILL_COLUMNS, "event_id")
transfers = _table("transfers", TRANSFER_COLUMNS, "event_id")
equity = sa.Table(
    "equity",
    metadata,
    sa.Column("account", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("step_ns", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("equity", sa.BigInteger),
)
flows = sa.Table(
    "flows",
    metadata,
    sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
    *(sa.Column(name, sa.BigInteger) for name in ("account", "now_ns", "instrument", "worth")),
)


def order_of_row(row: sa.RowMapping) -> Order:
    """Return the order that a row holds."""
    values = {name: row[name] for name in Order._fields}
    values["filled_value"] = int(row["filled_value"])
    values["client_order_id"] = row["client_order_id"].encode()
    return Order(**values)
