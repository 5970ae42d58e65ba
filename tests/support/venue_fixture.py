"""The real product for end-to-end tests: supervisor, venue, ledger, feed and workers as processes.

`running_venue` starts what a user starts, with accounts planned beforehand, and stops it whatever
happened. Everything a test needs to know of it is in `Venue`.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from madang.exchange.bootstrap import PENDING, AccountPlan, save_plans
from madang.exchange.operator import new_api_key, secret_digest
from madang.wire.codes import CASH_SCALE, QUANTITY_SCALE
from tests.support import running
from tests.support.metrics import total

SYMBOLS = {"AAPL": "100.00", "MSFT": "50.00", "ZZZZ": "0"}


@dataclass(frozen=True, slots=True)
class Person:
    """An account with its key, and its password where it has one."""

    name: str
    key_id: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate a request."""
        return {"APCA-API-KEY-ID": self.key_id, "APCA-API-SECRET-KEY": self.secret}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body's JSON object."""
        found = json.loads(self.body)
        assert isinstance(found, dict), self.body
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Return the body's JSON array."""
        found = json.loads(self.body)
        assert isinstance(found, list), self.body
        return found


@dataclass(slots=True)
class Venue:
    """A running product."""

    folder: Path
    port: int
    people: dict[str, Person]
    process: running.Process = field(repr=False)

    @property
    def state(self) -> Path:
        """Return the state folder."""
        return self.folder / "state"

    @property
    def url(self) -> str:
        """Return where the API is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        """Return where the trading stream is."""
        return f"ws://127.0.0.1:{self.port}/stream"

    def call(
        self, who: str | None, method: str, path: str, body: object = None, **headers: str
    ) -> Answer:
        """Send one request on a connection of its own; `body` is bytes or what becomes JSON."""
        sent = dict(headers)
        if who is not None:
            sent.update(self.people[who].headers)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            found: dict[str, str] = {}
            for name, value in response.getheaders():  # repeated ones on lines of their own
                before = found.get(name.lower())
                found[name.lower()] = value if before is None else f"{before}\n{value}"
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def order(self, who: str, **fields: object) -> dict[str, Any]:
        """Place an order that must be accepted and return it."""
        answer = self.call(who, "POST", "/v2/orders", fields)
        assert answer.status == 200, answer.body
        return answer.json()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels, over all processes."""
        return total(self.call(None, "GET", "/metrics").body.decode(), name, **labels)

    def pids(self, application: str) -> list[int]:
        """Return the processes of an application that are ready."""
        return running.ready_pids(self.state, application)

    def kill(self, application: str) -> None:
        """Kill every process of an application and wait until others are ready."""
        old = self.pids(application)
        for pid in old:
            os.kill(pid, signal.SIGKILL)

        def replaced() -> bool:
            fresh = self.pids(application)
            return len(fresh) == len(old) and not set(fresh) & set(old)

        running.wait_for(replaced, running.START_LIMIT_S, f"{application} ready again")

    def madang(self, *arguments: str, typed: str = "") -> str:
        """Run a `madang` command on this venue, type `typed`, and return what it printed."""
        return running.run_madang(self.state, *arguments, typed=typed)


@contextmanager
def running_venue(
    folder: Path, *names: str, workers: int = 2, extra: str = "", edge: str = ""
) -> Iterator[Venue]:
    """Yield a product in which each of `names` has 1,000,000 in cash and 10,000 of each share.

    A name that begins with "poor" has 1,000 in cash and nothing else; `extra` goes into `[venue]`,
    `edge` into `[edge]`.
    """
    state = folder / "state"
    state.mkdir(mode=0o700, parents=True)
    config = folder / "madang.toml"
    instruments = "".join(
        f'[[venue.instruments]]\nsymbol = "{symbol}"\nname = "{symbol} Inc."\n'
        f'reference_price = "{price}"\n'
        for symbol, price in SYMBOLS.items()
    )
    config.write_text(
        f"[cluster]\nworkers = {workers}\n[edge]\nport = 0\n{edge}\n[venue]\n{extra}\n{instruments}"
    )
    people = _plan_people(state, names)
    output = folder / "output.txt"
    process = running.start(["up", "--config", str(config), "--state", str(state)], output)
    try:
        venue = Venue(folder, _port(running.wait_until_up(process, output)), people, process)
        _wait_for_people(venue)
        yield venue
    finally:
        running.stop(process)


def _plan_people(state: Path, names: tuple[str, ...]) -> dict[str, Person]:
    people: dict[str, Person] = {}
    plans: list[AccountPlan] = []
    for name in names:
        poor = name.startswith("poor")
        key_id, secret = new_api_key()
        cash = (1_000 if poor else 1_000_000) * CASH_SCALE
        shares = {} if poor else dict.fromkeys(SYMBOLS, 10_000 * QUANTITY_SCALE)
        known_as = f"{name}-{secrets.token_hex(3)}"
        keys = {key_id: secret_digest(secret)}
        plans.append(running.account_plan(known_as, keys, cash, shares))
        people[name] = Person(plans[-1].name, key_id, secret)
    save_plans(state / PENDING, plans)
    return people


def _port(text: str) -> int:
    address = next(line for line in text.splitlines() if "127.0.0.1:" in line)
    return int(address.rsplit(":", 1)[1].split()[0].split("/")[0])


def _wait_for_people(venue: Venue) -> None:
    """Wait until the last deposits of everybody are there."""
    last = next(reversed(SYMBOLS))

    def there() -> bool:
        return all(
            venue.call(name, "GET", "/v2/account").status == 200
            and (
                name.startswith("poor")
                or venue.call(name, "GET", f"/v2/positions/{last}").status == 200
            )
            for name in venue.people
        )

    running.wait_for(there, running.START_LIMIT_S, "accounts")
