"""An engine whose batches a follower takes: the ledger and the feed are tested behind it."""

from __future__ import annotations

from collections.abc import Callable

from madang.core.ids import new_request_id
from madang.exchange.engine.python import PythonEngine
from madang.wire import commands
from madang.wire.batch import encode_batch
from madang.wire.codes import (
    CASH_SCALE,
    PRICE_SCALE,
    QUANTITY_SCALE,
    OrderType,
    Side,
    TimeInForce,
)

PRICE = 50 * PRICE_SCALE
SHARE = QUANTITY_SCALE
CASH = 100_000 * CASH_SCALE


class FollowedEngine:
    """One instrument, KIM, and two accounts with cash and 1,000 shares each."""

    def __init__(self, on_events: Callable[[bytes, bytes], None]) -> None:
        self.engine = PythonEngine()
        self._on_events = on_events
        self._orders = 0
        self._step_ns = 1
        self.events = b""
        self.apply(
            commands.encode_set_instrument(new_request_id(), commands.InstrumentTerms(b"KIM")),
            *(commands.encode_create_account(new_request_id(), name) for name in (b"a", b"b")),
            *(
                commands.encode_transfer(number, new_request_id(), instrument, amount)
                for number in (1, 2)
                for instrument, amount in ((0, CASH), (1, 1_000 * SHARE))
            ),
        )

    def apply(self, *records: bytes) -> None:
        """Apply commands as one batch and tell the follower."""
        batch = encode_batch(
            b"".join(records),
            len(records),
            term=1,
            sequence=self.engine.sequence + 1,
            now_ns=self.engine.now_ns + self._step_ns,
            rules_version=1,
        )
        self.events = self.engine.apply(batch)
        self._on_events(batch, self.events)

    def skip_time(self) -> None:
        """Let batches come a microsecond apart from here on."""
        self._step_ns = 1_000

    def stay_in_time(self) -> None:
        """Let batches come a nanosecond apart from here on."""
        self._step_ns = 1

    def order(
        self, account: int, side: Side, shares: int, name: bytes = b"", *, price: int = PRICE
    ) -> None:
        """Send a limit order; `name` is its client_order_id."""
        self._orders += 1
        terms = commands.OrderTerms(
            instrument=1,
            side=side,
            type=OrderType.LIMIT,
            time_in_force=TimeInForce.DAY,
            quantity=shares * SHARE,
            limit_price=price,
        )
        text = name or b"order-%d" % self._orders
        self.apply(commands.encode_new_order(account, new_request_id(), terms, text))
