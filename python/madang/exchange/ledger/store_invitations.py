"""Invitations in `store.db`: single use, with an end, kept as digests.

An invitation is held by the first claimant and by nobody else; a claimant that asks again still
holds it. Times are nanoseconds since the epoch.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from madang.exchange.ledger.store import ChoiceRefused, metadata

INVITATIONS_MAX: Final = 10_000
LISTED_MAX: Final = 1_000
"""Rows in one answer, so that it fits into a message of the bus."""
KEPT_NS: Final = 90 * 86_400 * 1_000_000_000
"""How long an invitation is still listed after its end."""

invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("made_ns", sa.BigInteger),
    sa.Column("until_ns", sa.BigInteger),
    sa.Column("claimant", sa.String(64)),
    sa.Column("claimed_ns", sa.BigInteger),
)

Row = dict[str, Any]


class Invitations:
    """The table of invitations; each method is one transaction."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database

    async def add(self, digest: str, until_ns: int, now_ns: int) -> None:
        """Add an invitation; raises ChoiceRefused where there are too many."""
        count = sa.select(sa.func.count()).select_from(invitations)
        async with self._database.begin() as connection:
            old = invitations.c.until_ns < now_ns - KEPT_NS
            await connection.execute(sa.delete(invitations).where(old))
            if (await connection.execute(count)).scalar_one() >= INVITATIONS_MAX:
                raise ChoiceRefused(422, f"at most {INVITATIONS_MAX} invitations are kept")
            row = {"digest": digest, "made_ns": now_ns, "until_ns": until_ns}
            await connection.execute(sa.insert(invitations).values(**row))

    async def claim(self, digest: str, claimant: str, now_ns: int) -> bool:
        """Tell whether the claimant holds the invitation, claiming it where nobody does."""
        free = sa.and_(
            invitations.c.digest == digest,
            invitations.c.claimant.is_(None),
            invitations.c.until_ns > now_ns,
        )
        async with self._database.begin() as connection:
            await connection.execute(
                sa.update(invitations).where(free).values(claimant=claimant, claimed_ns=now_ns)
            )
            holder = sa.select(invitations.c.claimant).where(invitations.c.digest == digest)
            return (await connection.execute(holder)).scalar_one_or_none() == claimant

    async def release(self, digest: str, claimant: str) -> None:
        """Free an invitation that the claimant holds."""
        held = sa.and_(invitations.c.digest == digest, invitations.c.claimant == claimant)
        async with self._database.begin() as connection:
            await connection.execute(
                sa.update(invitations).where(held).values(claimant=None, claimed_ns=None)
            )

    async def remove(self, prefix: str) -> int:
        """Delete the unused invitations whose digest begins so; return how many there were."""
        wanted = sa.and_(
            invitations.c.digest.startswith(prefix, autoescape=True),
            invitations.c.claimant.is_(None),
        )
        async with self._database.begin() as connection:
            return (await connection.execute(sa.delete(invitations).where(wanted))).rowcount

    async def all(self) -> list[Row]:
        """Return the newest invitations, newest first."""
        statement = sa.select(invitations).order_by(invitations.c.made_ns.desc()).limit(LISTED_MAX)
        async with self._database.connect() as connection:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]
