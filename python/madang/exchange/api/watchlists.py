"""Watchlists: an account's named lists of symbols, kept in the store.

Symbols travel as instrument numbers, so a list outlives whatever an instrument is called. A list is
named in the path by its id, or as `/v2/watchlists:by_name?name=` by its name.
"""

from __future__ import annotations

import uuid
from typing import Any

from madang.core.ids import Kind, to_uuid
from madang.edge import Request, Response, json_response
from madang.exchange.api.assets import asset_entity
from madang.exchange.api.orders import caller
from madang.exchange.api.refusals import echo, invalid, not_found, unprocessable
from madang.exchange.api.schemas_account import (
    NewWatchlist,
    Watchlist,
    WatchlistChange,
    WatchlistQuery,
    WatchlistSymbol,
)
from madang.exchange.api.store_client import StoreClient
from madang.exchange.api.times import time_text
from madang.exchange.directory import DirectoryReplica, Instrument

Row = dict[str, Any]


class WatchlistMethods:
    """Handlers of /v2/watchlists."""

    def __init__(self, store: StoreClient, replica: DirectoryReplica) -> None:
        self._store = store
        self._replica = replica

    async def list_all(self, request: Request) -> Response:
        """GET /v2/watchlists: without their assets."""
        answer = await self._store.ask("watchlists", account=caller(request))
        return json_response([_entity(row) for row in answer["rows"]])

    async def create(self, request: Request) -> Response:
        """POST /v2/watchlists."""
        body = request.json(NewWatchlist)
        return await self._change(
            "put_watchlist",
            new=True,
            id=str(uuid.uuid4()),
            account=caller(request),
            name=body.name,
            instruments=self._numbers(body.symbols or []),
        )

    async def get(self, request: Request) -> Response:
        """GET /v2/watchlists/{watchlist_id}."""
        return await self._change("watchlist", account=caller(request), id=await self._id(request))

    async def update(self, request: Request) -> Response:
        """PUT /v2/watchlists/{watchlist_id}: `symbols` replaces what is in it."""
        body = request.json(WatchlistChange)
        if body.name is None and body.symbols is None:
            raise invalid("name or symbols is required")
        return await self._change(
            "put_watchlist",
            new=False,
            id=await self._id(request),
            account=caller(request),
            name=body.name,
            instruments=None if body.symbols is None else self._numbers(body.symbols),
        )

    async def add(self, request: Request) -> Response:
        """POST /v2/watchlists/{watchlist_id}: one more symbol, at the end."""
        body = request.json(WatchlistSymbol)
        return await self._change(
            "change_instrument",
            account=caller(request),
            id=await self._id(request),
            instrument=self._numbers([body.symbol])[0],
            remove=False,
        )

    async def remove(self, request: Request) -> Response:
        """DELETE /v2/watchlists/{watchlist_id}/{symbol}."""
        found = self._replica.directory.instrument(request.parameters["symbol"])
        if found is None:
            raise not_found("the symbol is not in the watchlist")
        return await self._change(
            "change_instrument",
            repeatable=False,
            account=caller(request),
            id=await self._id(request),
            instrument=found.number,
            remove=True,
        )

    async def delete(self, request: Request) -> Response:
        """DELETE /v2/watchlists/{watchlist_id}."""
        await self._store.ask(
            "delete_watchlist",
            repeatable=False,
            account=caller(request),
            id=await self._id(request),
        )
        return Response(204)

    async def _change(self, kind: str, *, repeatable: bool = True, **fields: object) -> Response:
        row = (await self._store.ask(kind, repeatable=repeatable, **fields))["row"]
        return json_response(_entity(row, self._replica.directory.instruments))

    async def _id(self, request: Request) -> str:
        """Return the id, as the store writes it, of the list that is meant; 404 if none."""
        text = request.parameters.get("watchlist_id")
        if text is None:
            name = request.query_as(WatchlistQuery).name
            found = await self._store.ask("watchlist_named", account=caller(request), name=name)
            return str(found["row"]["id"])
        try:
            return str(uuid.UUID(text))
        except ValueError:
            raise not_found("watchlist not found") from None

    def _numbers(self, symbols: list[str]) -> list[int]:
        numbers = []
        for symbol in symbols:
            found = self._replica.directory.instrument(symbol)
            if found is None:
                raise unprocessable(f'asset "{echo(symbol)}" not found')
            numbers.append(found.number)
        return numbers


def _entity(row: Row, instruments: dict[int, Instrument] | None = None) -> Watchlist:
    found = Watchlist(
        id=row["id"],
        account_id=to_uuid(Kind.ACCOUNT, row["account"]),
        name=row["name"],
        created_at=time_text(row["created_ns"]),
        updated_at=time_text(row["updated_ns"]),
    )
    if instruments is not None:
        found.assets = [asset_entity(instruments[number]) for number in row["instruments"]]
    return found
