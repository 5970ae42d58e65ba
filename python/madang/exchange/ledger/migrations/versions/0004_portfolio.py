"""What every account was worth, and what came in or went out."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "equity",
        sa.Column("account", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("step_ns", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("equity", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "flows",
        sa.Column("event_id", KEY, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("account", "now_ns", "instrument", "worth")
        ),
    )
    op.create_index("flows_by_account", "flows", ["account", "now_ns"])


def downgrade() -> None:
    """Drop the tables; they can be rebuilt from the log."""
    op.drop_table("flows")
    op.drop_table("equity")
