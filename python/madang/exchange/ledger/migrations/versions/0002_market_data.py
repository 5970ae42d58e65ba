"""Trades, bars and quotes; trades are filled in from the fills that are there.

An empty `market_state.timezone` says that bars are to be made from the trades at the next opening.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TAKER = 2


def upgrade() -> None:
    """Create the tables of market history."""
    op.create_table(
        "trades",
        sa.Column("trade_id", KEY, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("instrument", "now_ns", "price", "quantity")
        ),
        sa.Column("aggressor", sa.SmallInteger, nullable=False),
    )
    op.create_index("trades_by_instrument", "trades", ["instrument", "trade_id"])
    op.create_index("trades_by_time", "trades", ["instrument", "now_ns"])
    op.create_table(
        "bars",
        sa.Column("instrument", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("span", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("start_ns", sa.BigInteger, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("open", "high", "low", "close", "trades")
        ),
        *(sa.Column(name, sa.String(48), nullable=False) for name in ("volume", "value")),
    )
    op.create_table(
        "quotes",
        sa.Column("instrument", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("slot_ns", sa.BigInteger, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("now_ns", "bid", "bid_quantity", "ask", "ask_quantity")
        ),
    )
    op.create_table(
        "market_state",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("timezone", sa.String(64), nullable=False),
    )
    op.execute(sa.text("INSERT INTO market_state (id, timezone) VALUES (1, '')"))
    columns = "instrument, now_ns, price, quantity"
    op.execute(
        sa.text(
            f"INSERT INTO trades (trade_id, {columns}, aggressor) "  # noqa: S608 - constants
            f"SELECT trade_id, {columns}, side FROM fills WHERE liquidity = {TAKER}"
        )
    )


def downgrade() -> None:
    """Drop the tables of market history; they can be rebuilt from the log."""
    for table in ("market_state", "quotes", "bars", "trades"):
        op.drop_table(table)
