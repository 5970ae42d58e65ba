"""Questions to the store, and this worker's copy of every account's configuration.

Invariant: a question that may have been answered differently the second time is asked once; then,
where no answer comes, the client is told 503 "outcome unknown". A copy that may have missed a
change is loaded again whole; until it was loaded once, nobody's configuration is guessed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from madang.bus import Bus, BusError, Gap, Message, NotDelivered, RequestRefused
from madang.core import log
from madang.core.clock import Clock
from madang.edge import ApiError
from madang.edge.errors import OUTCOME_UNKNOWN, UNAVAILABLE
from madang.exchange.api.refusals import invalid, not_found
from madang.exchange.settling import Settling, settle_everywhere

SUBJECT: Final = "store.query"
CHANGED: Final = "store.configurations.changed"
ANSWER_WITHIN_MS: Final = 5_000
RETRY_S: Final = 0.1
LOADED_WITHIN_S: Final = 5.0
COPY: Final = "configurations"
"""The name of a worker's copy in `settling`."""
NOBODY_AFTER: Final = 2**63 - 1
_MILLISECOND_NS: Final = 1_000_000


class StoreClient:
    """Asks `store.query`."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    async def ask(self, kind: str, *, repeatable: bool = True, **fields: object) -> dict[str, Any]:
        """Return the answer; raises ApiError 404, 422 or 503."""
        payload = msgspec.msgpack.encode({"kind": kind, **fields})
        end_ns = self._clock.monotonic_ns() + ANSWER_WITHIN_MS * _MILLISECOND_NS
        code = UNAVAILABLE
        while True:
            left_ms = (end_ns - self._clock.monotonic_ns()) // _MILLISECOND_NS
            if left_ms <= 0:
                raise ApiError(503, "the store does not answer", code)
            try:
                answer = await self._bus.request(SUBJECT, payload, left_ms)
            except (NotDelivered, RequestRefused):
                await self._bus.wait_for_server(SUBJECT, left_ms)
            except BusError:
                if not repeatable:
                    raise ApiError(503, "outcome unknown, look again", OUTCOME_UNKNOWN) from None
                code = OUTCOME_UNKNOWN
            else:
                return _read(answer)
            await asyncio.sleep(RETRY_S)


def _read(answer: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.msgpack.decode(answer)
    if "error" not in decoded:
        return decoded
    text, status = str(decoded["error"]), decoded["status"]
    if status == 404:
        raise not_found(text)
    if status == 422:
        raise invalid(text)
    raise ApiError(503, text, UNAVAILABLE)


class Configuration(msgspec.Struct, frozen=True):
    """What an account's owner has chosen."""

    account: int = 0
    suspend_trade: bool = False
    fractional_trading: bool = True
    ptp_no_exception_entry: bool = False


_DEFAULT: Final = Configuration()


class Configurations:
    """Every account's configuration in this worker."""

    def __init__(self, bus: Bus, store: StoreClient) -> None:
        self._bus = bus
        self._store = store
        self._settling = Settling(bus, COPY, self._caught_up)
        self._chosen: dict[int, Configuration] = {}
        self._loaded = asyncio.Event()
        self._changed_meanwhile: dict[int, Configuration] = {}
        self._again = False
        self._task: asyncio.Task[None] | None = None
        self._subscription = bus.subscribe(CHANGED, self._on_changed, self._on_gap)

    def start(self) -> None:
        """Begin to load."""
        self._reload()

    async def close(self) -> None:
        """Stop following."""
        self._subscription.close()
        await self._settling.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def of(self, account: int) -> Configuration | None:
        """Return an account's configuration; None while it is not known."""
        if not self._loaded.is_set():
            return None
        return self._chosen.get(account, _DEFAULT)

    async def wait_for(self, account: int) -> Configuration:
        """Return an account's configuration once it is known; raises ApiError 503."""
        try:
            async with asyncio.timeout(LOADED_WITHIN_S):
                await self._loaded.wait()
        except TimeoutError:
            raise ApiError(
                503, "account configurations are not known yet, nothing was done", UNAVAILABLE
            ) from None
        return self._chosen.get(account, _DEFAULT)

    async def change(self, account: int, changes: dict[str, bool]) -> Configuration:
        """Return what an account's configuration is once it is that on every worker."""
        answer = await self._store.ask("configure", account=account, changes=changes)
        await settle_everywhere(self._bus, COPY)
        return msgspec.convert(answer["row"], Configuration)

    async def _caught_up(self) -> None:
        """Return once this copy is what the store's was, an open load included."""
        await self._store.ask("configurations", after=NOBODY_AFTER)
        if self._task is not None:
            await asyncio.wait([self._task])

    def _on_changed(self, messages: list[Message]) -> None:
        for message in messages:
            found = msgspec.msgpack.decode(message.payload, type=Configuration)
            self._chosen[found.account] = self._changed_meanwhile[found.account] = found

    def _on_gap(self, _gap: Gap) -> None:
        self._reload()

    def _reload(self) -> None:
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._load_until_done())

    async def _load_until_done(self) -> None:
        while self._again:
            self._again = False
            self._changed_meanwhile = {}
            try:
                fresh = await self._load()
            except (ApiError, BusError) as error:
                log.get("configurations").warning("not loaded, trying again", error=str(error))
                self._again = True
                await asyncio.sleep(RETRY_S)
                continue
            self._chosen = {**fresh, **self._changed_meanwhile}
            self._loaded.set()

    async def _load(self) -> dict[int, Configuration]:
        fresh: dict[int, Configuration] = {}
        last = 0
        while rows := (await self._store.ask("configurations", after=last))["rows"]:
            for row in rows:
                fresh[row["account"]] = msgspec.convert(row, Configuration)
            last = rows[-1]["account"]
        return fresh
