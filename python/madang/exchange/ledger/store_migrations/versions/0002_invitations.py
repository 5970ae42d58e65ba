"""Invitations to sign up."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of invitations."""
    op.create_table(
        "invitations",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("made_ns", sa.BigInteger, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
        sa.Column("claimant", sa.String(64)),
        sa.Column("claimed_ns", sa.BigInteger),
    )


def downgrade() -> None:
    """Drop the invitations."""
    op.drop_table("invitations")
