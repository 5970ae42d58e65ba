"""Fills and transfers by account, for activities."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the indexes."""
    for table in ("fills", "transfers"):
        op.create_index(f"{table}_by_account", table, ["account", "event_id"])


def downgrade() -> None:
    """Drop the indexes."""
    for table in ("fills", "transfers"):
        op.drop_index(f"{table}_by_account", table)
