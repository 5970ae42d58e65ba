"""`store.db`: what people have chosen, which no log could bring back. Every commit is synced.

One process writes it, the ledger's. Each method is one transaction. A "no" that the client should
hear is a `Choice` refused with a status; repeating a creation or a change is harmless, since lists
are named by whoever asks for them.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from madang.core.errors import MadangError

WATCHLISTS_MAX: Final = 200
INSTRUMENTS_MAX: Final = 500
PAGE_ROWS: Final = 1_000

metadata = sa.MetaData()
configurations = sa.Table(
    "configurations",
    metadata,
    sa.Column("account", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("suspend_trade", sa.Boolean),
    sa.Column("fractional_trading", sa.Boolean),
    sa.Column("ptp_no_exception_entry", sa.Boolean),
)
watchlists = sa.Table(
    "watchlists",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("account", sa.BigInteger),
    sa.Column("name", sa.String(64)),
    sa.Column("created_ns", sa.BigInteger),
    sa.Column("updated_ns", sa.BigInteger),
)
watchlist_instruments = sa.Table(
    "watchlist_instruments",
    metadata,
    sa.Column("watchlist", sa.String(36), primary_key=True),
    sa.Column("instrument", sa.BigInteger, primary_key=True),
    sa.Column("place", sa.Integer),
)
DEFAULTS: Final = {
    "suspend_trade": False,
    "fractional_trading": True,
    "ptp_no_exception_entry": False,
}

Row = dict[str, Any]


class ChoiceRefused(MadangError):
    """What was asked for cannot be; `status` is 404 or 422. Nothing was changed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Store:
    """The user database."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database
        postgres = database.dialect.name == "postgresql"
        self._insert = postgresql.insert if postgres else sqlite.insert

    async def close(self) -> None:
        """Let the database go."""
        await self._database.dispose()

    async def configurations_after(self, account: int) -> list[Row]:
        """Return the configurations of up to PAGE_ROWS accounts after `account`, ascending."""
        statement = (
            sa.select(configurations)
            .where(configurations.c.account > account)
            .order_by(configurations.c.account)
            .limit(PAGE_ROWS)
        )
        async with self._database.connect() as connection:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]

    async def configure(self, account: int, changes: dict[str, bool]) -> Row:
        """Change some of an account's configuration and return all of it."""
        known = {name: value for name, value in changes.items() if name in DEFAULTS}
        insert = self._insert(configurations).values(account=account, **{**DEFAULTS, **known})
        keys = [configurations.c.account]
        statement = (
            insert.on_conflict_do_update(index_elements=keys, set_=known)
            if known
            else insert.on_conflict_do_nothing(index_elements=keys)
        )
        async with self._database.begin() as connection:
            await connection.execute(statement)
            found = await connection.execute(
                sa.select(configurations).where(configurations.c.account == account)
            )
            return dict(found.mappings().one())

    async def watchlists(self, account: int) -> list[Row]:
        """Return an account's lists without their instruments, oldest first."""
        statement = (
            sa.select(watchlists)
            .where(watchlists.c.account == account)
            .order_by(watchlists.c.created_ns, watchlists.c.id)
        )
        async with self._database.connect() as connection:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]

    async def watchlist(self, account: int, name: str) -> Row:
        """Return the list whose id is `name`; raises ChoiceRefused."""
        async with self._database.connect() as connection:
            return await _read(connection, account, name)

    async def watchlist_named(self, account: int, name: str) -> Row:
        """Return the list that is called so; raises ChoiceRefused."""
        statement = sa.select(watchlists.c.id).where(
            watchlists.c.account == account, watchlists.c.name == name
        )
        async with self._database.connect() as connection:
            found = (await connection.execute(statement)).scalar_one_or_none()
            if found is None:
                raise ChoiceRefused(404, "watchlist not found")
            return await _read(connection, account, found)

    async def put_watchlist(self, wanted: Row, now_ns: int) -> Row:
        """Create or change a list: `id`, `account`, `name` or None, `instruments` or None.

        With `new` true it is created. Raises ChoiceRefused.
        """
        account, number = wanted["account"], wanted["id"]
        try:
            async with self._database.begin() as connection:
                if wanted["new"]:
                    await self._create(connection, wanted, now_ns)
                else:
                    await _read(connection, account, number)
                    changes = {"updated_ns": now_ns}
                    if wanted["name"] is not None:
                        changes["name"] = wanted["name"]
                    await connection.execute(
                        sa.update(watchlists).where(watchlists.c.id == number).values(**changes)
                    )
                if wanted["instruments"] is not None:
                    await _write_instruments(connection, number, wanted["instruments"])
                return await _read(connection, account, number)
        except IntegrityError:
            raise ChoiceRefused(422, "watchlist name must be unique") from None

    async def _create(self, connection: AsyncConnection, wanted: Row, now_ns: int) -> None:
        account = wanted["account"]
        count = sa.select(sa.func.count()).where(watchlists.c.account == account)
        if (await connection.execute(count)).scalar_one() >= WATCHLISTS_MAX:
            raise ChoiceRefused(422, f"an account has at most {WATCHLISTS_MAX} watchlists")
        await connection.execute(
            self._insert(watchlists)
            .values(
                id=wanted["id"],
                account=account,
                name=wanted["name"],
                created_ns=now_ns,
                updated_ns=now_ns,
            )
            .on_conflict_do_nothing(index_elements=[watchlists.c.id])
        )

    async def change_instrument(self, wanted: Row, now_ns: int) -> Row:
        """Put an `instrument` at the end of a list, or with `remove` take it out.

        One that is in already stays where it is; one that is not in cannot be removed (404).
        """
        account, number, instrument = wanted["account"], wanted["id"], wanted["instrument"]
        async with self._database.begin() as connection:
            found = (await _read(connection, account, number))["instruments"]
            if wanted["remove"]:
                if instrument not in found:
                    raise ChoiceRefused(404, "the symbol is not in the watchlist")
                found.remove(instrument)
            elif instrument not in found:
                found.append(instrument)
            await _write_instruments(connection, number, found)
            await connection.execute(
                sa.update(watchlists).where(watchlists.c.id == number).values(updated_ns=now_ns)
            )
            return await _read(connection, account, number)

    async def delete_watchlist(self, account: int, name: str) -> None:
        """Delete the list whose id is `name`; raises ChoiceRefused."""
        async with self._database.begin() as connection:
            await _read(connection, account, name)
            await connection.execute(sa.delete(watchlists).where(watchlists.c.id == name))


async def _read(connection: AsyncConnection, account: int, number: str) -> Row:
    statement = sa.select(watchlists).where(
        watchlists.c.id == number, watchlists.c.account == account
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise ChoiceRefused(404, "watchlist not found")
    instruments = (
        sa.select(watchlist_instruments.c.instrument)
        .where(watchlist_instruments.c.watchlist == number)
        .order_by(watchlist_instruments.c.place)
    )
    return {**row, "instruments": list((await connection.execute(instruments)).scalars())}


async def _write_instruments(connection: AsyncConnection, number: str, found: list[int]) -> None:
    instruments = list(dict.fromkeys(found))
    if len(instruments) > INSTRUMENTS_MAX:
        raise ChoiceRefused(422, f"a watchlist has at most {INSTRUMENTS_MAX} symbols")
    await connection.execute(
        sa.delete(watchlist_instruments).where(watchlist_instruments.c.watchlist == number)
    )
    if instruments:
        await connection.execute(
            sa.insert(watchlist_instruments),
            [
                {"watchlist": number, "instrument": instrument, "place": place}
                for place, instrument in enumerate(instruments)
            ],
        )
