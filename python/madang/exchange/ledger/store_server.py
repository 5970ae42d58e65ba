"""Answers `store.query`: what people have chosen, read and changed one question at a time.

A question is a msgpack map with `kind`; its answer has what was found or `error` and `status`. A
changed configuration is published on CHANGED before it is answered, so that every worker acts on it
at once; a worker that missed it is told of a gap and reads all of them again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from madang.bus import Bus, BusError, Request
from madang.core import log
from madang.core.clock import Clock, SystemClock
from madang.exchange.ledger.copy import STORE_FILE
from madang.exchange.ledger.store import ChoiceRefused, Store
from madang.exchange.ledger.store_invitations import Invitations
from madang.store import database, migrations

SUBJECT: Final = "store.query"
CHANGED: Final = "store.configurations.changed"
WAITING_MAX: Final = 10_000
MIGRATIONS: Final = Path(__file__).parent / "store_migrations"

Query = dict[str, Any]


async def open_store(state_dir: Path, url: str, bus: Bus) -> StoreServer:
    """Open the store at `url`, or in the state folder where that is empty, and serve it."""
    sql = database.open_database(
        url or database.sqlite_url(state_dir / STORE_FILE), rebuildable=False
    )
    await migrations.upgrade(sql, MIGRATIONS)
    return StoreServer(Store(sql), bus, SystemClock(), Invitations(sql))


class StoreServer:
    """Serves one store on a bus."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, invitations: Invitations) -> None:
        self._store = store
        self._invitations = invitations
        self._bus = bus
        self._clock = clock
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._kinds: dict[str, Callable[[Query], Awaitable[Query]]] = {
            "configurations": self._configurations,
            "configure": self._configure,
            "watchlists": self._watchlists,
            "watchlist": self._watchlist,
            "watchlist_named": self._watchlist_named,
            "put_watchlist": self._put_watchlist,
            "change_instrument": self._change_instrument,
            "delete_watchlist": self._delete_watchlist,
            "add_invitation": self._add_invitation,
            "claim_invitation": self._claim_invitation,
            "release_invitation": self._release_invitation,
            "remove_invitations": self._remove_invitations,
            "invitations": self._list_invitations,
        }
        self._subscription = bus.serve(SUBJECT, self._on_requests)

    async def close(self) -> None:
        """Take no more questions, finish those that wait and let the store go."""
        self._subscription.close()
        if self._task is not None:
            await self._task
        await self._store.close()

    def _on_requests(self, requests: list[Request]) -> None:
        room = WAITING_MAX - len(self._waiting)
        self._waiting.extend(requests[:room])
        for request in requests[room:]:
            request.refuse("store overloaded")
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer_all())

    async def _answer_all(self) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            answer = await self._answer(request.payload)
            with contextlib.suppress(BusError):
                request.respond(msgspec.msgpack.encode(answer))

    async def _answer(self, payload: bytes) -> Query:
        try:
            query = msgspec.msgpack.decode(payload, type=Query)
            kind = self._kinds.get(str(query.get("kind")))
            if kind is None:
                return {"error": "unknown kind of query", "status": 500}
            return await kind(query)
        except ChoiceRefused as refused:
            return {"error": refused.message, "status": refused.status}
        except (msgspec.DecodeError, KeyError, TypeError, OverflowError) as error:
            return {"error": f"malformed query: {error}", "status": 500}
        except (SQLAlchemyError, OSError):
            log.get("store").exception("question failed")
            return {"error": "the store is not readable or not writable", "status": 503}

    async def _configurations(self, query: Query) -> Query:
        return {"rows": await self._store.configurations_after(query["after"])}

    async def _configure(self, query: Query) -> Query:
        row = await self._store.configure(query["account"], query["changes"])
        self._bus.publish(CHANGED, msgspec.msgpack.encode(row))
        return {"row": row}

    async def _watchlists(self, query: Query) -> Query:
        return {"rows": await self._store.watchlists(query["account"])}

    async def _watchlist(self, query: Query) -> Query:
        return {"row": await self._store.watchlist(query["account"], query["id"])}

    async def _watchlist_named(self, query: Query) -> Query:
        return {"row": await self._store.watchlist_named(query["account"], query["name"])}

    async def _put_watchlist(self, query: Query) -> Query:
        return {"row": await self._store.put_watchlist(query, self._clock.now_ns())}

    async def _change_instrument(self, query: Query) -> Query:
        return {"row": await self._store.change_instrument(query, self._clock.now_ns())}

    async def _delete_watchlist(self, query: Query) -> Query:
        await self._store.delete_watchlist(query["account"], query["id"])
        return {}

    async def _add_invitation(self, query: Query) -> Query:
        now_ns = self._clock.now_ns()
        until_ns = now_ns + query["lasts_ns"]
        await self._invitations.add(query["digest"], until_ns, now_ns)
        return {"until_ns": until_ns}

    async def _claim_invitation(self, query: Query) -> Query:
        now_ns = self._clock.now_ns()
        return {"held": await self._invitations.claim(query["digest"], query["claimant"], now_ns)}

    async def _release_invitation(self, query: Query) -> Query:
        await self._invitations.release(query["digest"], query["claimant"])
        return {}

    async def _remove_invitations(self, query: Query) -> Query:
        return {"removed": await self._invitations.remove(query["prefix"])}

    async def _list_invitations(self, _query: Query) -> Query:
        rows = await self._invitations.all()
        return {"rows": rows, "now_ns": self._clock.now_ns()}
