"""The ledger's tables as SQLAlchemy sees them; `migrations/` makes them.

Integers in the venue's units. `orders` holds every order once, as it last stood; `fills` has one
row per side of a trade; `progress.sequence` is the last log sequence whose rows are in, written in
the same transaction as the rows.
"""

from __future__ import annotations

import sqlalchemy as sa

from madang.wire.events import Order

metadata = sa.MetaData()

progress = sa.Table(
    "progress",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sequence", sa.BigInteger),
)

orders = sa.Table(
    "orders",
    metadata,
    *(
        sa.Column(name, sa.BigInteger, primary_key=name == "order_id")
        for name in Order._fields
        if name not in ("filled_value", "client_order_id")
    ),
    sa.Column("filled_value", sa.String(40)),
    sa.Column("client_order_id", sa.String(128)),
)

fills = sa.Table(
    "fills",
    metadata,
    sa.Column("event_id", sa.BigInteger, primary_key=True),
    *(
        sa.Column(name, sa.BigInteger)
        for name in (
            "sequence", "now_ns", "trade_id", "account", "order_id", "instrument", "side",
            "liquidity", "order_status", "price", "quantity", "position_quantity",
            "cumulative_quantity",
        )
    ),
)  # fmt: skip

transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("event_id", sa.BigInteger, primary_key=True),
    *(
        sa.Column(name, sa.BigInteger)
        for name in ("sequence", "now_ns", "account", "instrument", "amount", "balance")
    ),
)

_NAMES = tuple(Order._fields)


def order_row(order: Order) -> dict[str, object]:
    """Return an order as a row."""
    row = dict(zip(_NAMES, order, strict=True))
    row["filled_value"] = str(order.filled_value)
    row["client_order_id"] = order.client_order_id.decode()
    return row


def order_of_row(row: sa.RowMapping) -> Order:
    """Return the order that a row holds."""
    values = {name: row[name] for name in _NAMES}
    values["filled_value"] = int(row["filled_value"])
    values["client_order_id"] = row["client_order_id"].encode()
    return Order(**values)
