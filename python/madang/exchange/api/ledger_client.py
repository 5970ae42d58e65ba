"""Questions to the ledger. Asking changes nothing, so a lost question is asked again.

Invariant: an answer is as of at least what was committed when the question was asked; where none
comes within ANSWER_WITHIN_MS the client is told 503, never something old.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import msgspec

from madang.bus import Bus, BusError, RequestRefused
from madang.core.clock import Clock
from madang.edge import ApiError
from madang.edge.errors import UNAVAILABLE
from madang.wire.events import ACCOUNT_BODY, Order, parse_order
from madang.wire.records import Account, Position, parse_account, parse_position

SUBJECT: Final = "ledger.query"
ANSWER_WITHIN_MS: Final = 8_000
REFUSED_WITHIN_MS: Final = 2_500
RETRY_MS: Final = 50
NEWEST_EVENT: Final = 2**63 - 1
_MILLISECOND_NS: Final = 1_000_000


class LedgerUnavailable(ApiError):
    """No answer from the ledger in time."""

    def __init__(self, why: str) -> None:
        super().__init__(503, f"the ledger does not answer: {why}", UNAVAILABLE)


class AccountView(NamedTuple):
    """An account with its positions and the price of each instrument, as of one sequence.

    `closes` are prices, `day_bases` and `last_equity` cash units; see `ledger.today`.
    """

    account: Account
    positions: list[Position]
    prices: dict[int, int]
    last_equity: int
    closes: dict[int, int]
    day_bases: dict[int, int]


class CurveView(NamedTuple):
    """What an account was worth: (time, worth), flows (time, worth, is cash), and its worth now."""

    steps: list[tuple[int, int]]
    flows: list[tuple[int, int, bool]]
    equity: int
    now_ns: int


class OrderFilter(msgspec.Struct, frozen=True):
    """Which orders of an account; see `ledger.query`."""

    status: str
    limit: int
    direction: str
    side: int = 0
    after_ns: int | None = None
    until_ns: int | None = None
    instruments: list[int] | None = None
    after_id: int | None = None
    before_id: int | None = None


class EventsPage(NamedTuple):
    """ORDER event records after some event; `last` is the newest event of all accounts."""

    complete: bool
    records: list[bytes]
    last: int | None


class LedgerClient:
    """Asks `ledger.query`."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    async def order(self, account: int, order_id: int) -> Order | None:
        """Return an order of the account."""
        answer = await self._ask({"kind": "order", "account": account, "order_id": order_id})
        return _order(answer["order"])

    async def order_by_client_id(self, account: int, client_order_id: str) -> Order | None:
        """Return the newest order of the account with that client_order_id."""
        question = {
            "kind": "order_by_client_id",
            "account": account,
            "client_order_id": client_order_id,
        }
        return _order((await self._ask(question))["order"])

    async def orders(self, account: int, wanted: OrderFilter) -> list[Order]:
        """Return the account's orders that pass the filter, in its direction."""
        fields = msgspec.structs.asdict(wanted)
        answer = await self._ask({"kind": "orders", "account": account, **fields})
        return [parse_order(body, 0) for body in answer["orders"]]

    async def activities(self, account: int, **wanted: object) -> list[dict[str, Any]]:
        """Return fills and transfers of the account; see `ledger.activities.ActivityFilter`."""
        answer = await self._ask({"kind": "activities", "account": account, "wanted": wanted})
        rows: list[dict[str, Any]] = answer["activities"]
        return rows

    async def curve(self, account: int, **span: int) -> CurveView:
        """Return what the account was worth in a span; see `ledger.equity.CurveQuery`."""
        answer = await self._ask({"kind": "curve", "account": account, **span})
        return CurveView(answer["steps"], answer["flows"], answer["equity"], answer["now_ns"])

    async def account(self, number: int) -> AccountView | None:
        """Return an account with its positions."""
        answer = await self._ask({"kind": "account", "account": number})
        body = answer["account"]
        if body is None:
            return None
        assert len(body) >= ACCOUNT_BODY.size
        positions = [parse_position(position, 0) for position in answer["positions"]]
        day = (answer[name] for name in ("last_equity", "closes", "day_bases"))
        return AccountView(parse_account(body, 0), positions, answer["prices"], *day)

    async def events(self, account: int, after: int, limit: int) -> EventsPage:
        """Return the account's ORDER events after event `after`, oldest first."""
        question = {"kind": "events", "account": account, "after": after, "limit": limit}
        answer = await self._ask(question)
        return EventsPage(answer["complete"], answer["events"], answer.get("last"))

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Ask a question of any kind of `ledger.query`; raises LedgerUnavailable."""
        return await self._ask(question)

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Ask until there is an answer; the ledger refuses while the venue is away."""
        payload = msgspec.msgpack.encode(question)
        started_ns = self._clock.monotonic_ns()
        while True:
            spent_ms = (self._clock.monotonic_ns() - started_ns) // _MILLISECOND_NS
            left_ms = ANSWER_WITHIN_MS - spent_ms
            if left_ms <= 0:
                raise LedgerUnavailable("time is over")
            try:
                answer = await self._bus.request(SUBJECT, payload, left_ms)
            except RequestRefused as refused:
                if spent_ms > REFUSED_WITHIN_MS:
                    raise LedgerUnavailable(refused.message) from None
            except BusError:
                await self._bus.wait_for_server(SUBJECT, max(1, left_ms - RETRY_MS))
            else:
                decoded: dict[str, Any] = msgspec.msgpack.decode(answer, strict=False)
                if "error" in decoded:
                    raise LedgerUnavailable(str(decoded["error"]))
                return decoded
            await asyncio.sleep(RETRY_MS / 1_000)


def _order(body: bytes | None) -> Order | None:
    return None if body is None else parse_order(body, 0)
