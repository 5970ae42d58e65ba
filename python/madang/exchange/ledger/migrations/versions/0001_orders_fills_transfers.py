"""Orders, fills, transfers and how far the log is in them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite keeps a table in the order of an INTEGER key, without an index beside it.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the ledger's tables."""
    op.create_table(
        "progress",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("now_ns", sa.BigInteger, nullable=False),
    )
    op.execute(sa.text("INSERT INTO progress (id, sequence, now_ns) VALUES (1, 0, 0)"))
    op.create_table(
        "orders",
        sa.Column("order_id", KEY, primary_key=True, autoincrement=False),
        sa.Column("account", sa.BigInteger, nullable=False),
        sa.Column("instrument", sa.BigInteger, nullable=False),
        *(
            sa.Column(name, sa.SmallInteger, nullable=False)
            for name in (
                "side", "type", "time_in_force", "status", "self_trade", "flags", "close_reason",
            )
        ),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("quantity", "notional", "limit_price", "stop_price", "filled_quantity")
        ),
        sa.Column("filled_value", sa.String(40), nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("fee", "created_ns", "updated_ns", "closed_ns", "replaces", "replaced_by")
        ),
        sa.Column("client_order_id", sa.String(128), nullable=False),
    )  # fmt: skip
    op.create_index("orders_by_account", "orders", ["account", "created_ns", "order_id"])
    op.create_index("orders_by_client_order_id", "orders", ["account", "client_order_id"])
    op.create_table(
        "fills",
        sa.Column("event_id", KEY, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in (
                "sequence", "now_ns", "trade_id", "account", "order_id", "instrument", "price",
                "quantity", "position_quantity", "cumulative_quantity",
            )
        ),
        sa.Column("side", sa.SmallInteger, nullable=False),
        sa.Column("liquidity", sa.SmallInteger, nullable=False),
        sa.Column("order_status", sa.SmallInteger, nullable=False),
    )  # fmt: skip
    op.create_table(
        "transfers",
        sa.Column("event_id", KEY, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("sequence", "now_ns", "account", "instrument", "amount", "balance")
        ),
    )


def downgrade() -> None:
    """Drop the ledger's tables; they can be rebuilt from the log."""
    for table in ("transfers", "fills", "orders", "progress"):
        op.drop_table(table)
