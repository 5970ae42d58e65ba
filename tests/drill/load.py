"""An open-loop stream of orders and what its clients were told of each.

Every order is due at a time fixed beforehand; an order that cannot be sent in time is sent late,
never left out, so a stall shows. `told` is the only thing the checker believes about outcomes.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from tests.drill.client import Answer, Client
from tests.drill.product import Trader


class Told(NamedTuple):
    """One order's outcome as its client saw it; times are seconds on the monotonic clock."""

    trader: int
    client_order_id: str
    due_s: float
    sent_s: float
    done_s: float
    status: int
    order_id: str | None
    code: int | None


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How much of what is offered."""

    rate_per_s: int
    duration_s: float
    connections: int
    seed: int


@dataclass
class Load:
    """One run of the load."""

    port: int
    traders: list[Trader]
    symbols: dict[str, str]
    settings: LoadSettings
    told: list[Told] = field(default_factory=list)

    async def run(self) -> None:
        """Offer everything and return when every order has an outcome."""
        start_s = time.monotonic() + 0.2
        async with asyncio.TaskGroup() as group:
            for index in range(self.settings.connections):
                group.create_task(self._connection(index, start_s))

    async def _connection(self, index: int, start_s: float) -> None:
        settings = self.settings
        number = index % len(self.traders)
        trader = self.traders[number]
        client = Client("127.0.0.1", self.port, trader.key_id, trader.secret)
        chooser = random.Random(settings.seed * 1_000 + index)
        step_s = settings.connections / settings.rate_per_s
        due_s = start_s + index / settings.rate_per_s
        count = 0
        while due_s < start_s + settings.duration_s:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            client_order_id = f"drill-{settings.seed}-{index}-{count}"
            order = self._order(chooser, client_order_id)
            sent_s = time.monotonic()
            answer = await client.call("POST", "/v2/orders", order)
            self._note(number, client_order_id, (due_s, sent_s), answer)
            count += 1
            due_s += step_s
        client.drop()

    def _order(self, chooser: random.Random, client_order_id: str) -> dict[str, str]:
        symbol = chooser.choice(list(self.symbols))
        middle_cents = int(Decimal(self.symbols[symbol]) * 100)
        cents = middle_cents + chooser.randint(-40, 40)
        order = {
            "symbol": symbol,
            "side": chooser.choice(("buy", "sell")),
            "qty": str(chooser.randint(1, 20)),
            "client_order_id": client_order_id,
        }
        kind = chooser.random()
        if kind < 0.15:
            return {**order, "type": "market", "time_in_force": "day"}
        force = "ioc" if kind < 0.45 else chooser.choice(("day", "gtc"))
        price = f"{cents // 100}.{cents % 100:02d}"
        return {**order, "type": "limit", "time_in_force": force, "limit_price": price}

    def _note(
        self, trader: int, client_order_id: str, times_s: tuple[float, float], answer: Answer
    ) -> None:
        body = answer.body if isinstance(answer.body, dict) else {}
        self.told.append(
            Told(
                trader,
                client_order_id,
                *times_s,
                time.monotonic(),
                answer.status,
                body.get("id"),
                body.get("code"),
            )
        )

    @property
    def acknowledged(self) -> list[Told]:
        """Orders whose client was told that they are in."""
        return [told for told in self.told if told.status == 200]
