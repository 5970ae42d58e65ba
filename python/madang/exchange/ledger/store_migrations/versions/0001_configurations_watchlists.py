"""What people have chosen: account configurations and watchlists."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the store's tables."""
    op.create_table(
        "configurations",
        sa.Column("account", sa.BigInteger, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.Boolean, nullable=False)
            for name in ("suspend_trade", "fractional_trading", "ptp_no_exception_entry")
        ),
    )
    op.create_table(
        "watchlists",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("updated_ns", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("account", "name", name="watchlist_names"),
    )
    op.create_table(
        "watchlist_instruments",
        sa.Column(
            "watchlist", sa.String(36), sa.ForeignKey("watchlists.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("instrument", sa.BigInteger, primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
    )  # fmt: skip


def downgrade() -> None:
    """Drop the store's tables and what people have chosen with them."""
    for table in ("watchlist_instruments", "watchlists", "configurations"):
        op.drop_table(table)
