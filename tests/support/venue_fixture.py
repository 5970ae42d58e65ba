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
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from madang.cli.settings import runtime_dir
from madang.cluster.control import SOCKET_NAME, request
from madang.core.ids import new_request_id
from madang.exchange.bootstrap import PENDING, AccountPlan, TransferPlan, save_plans
from madang.exchange.operator import new_api_key, secret_digest
from madang.wire.codes import CASH_SCALE, QUANTITY_SCALE

START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
COMMAND_LIMIT_S = 30.0
POLL_S = 0.02
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
    process: subprocess.Popen[bytes] = field(repr=False)

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

    def pids(self, application: str) -> list[int]:
        """Return the processes of an application that are ready."""
        rows = request(runtime_dir(self.state) / SOCKET_NAME, {"command": "ls"})["rows"]
        assert isinstance(rows, list)
        return [row["pid"] for row in rows if row["app"] == application and row["state"] == "ready"]

    def kill(self, application: str) -> None:
        """Kill every process of an application and wait until others are ready."""
        old = self.pids(application)
        for pid in old:
            os.kill(pid, signal.SIGKILL)

        def replaced() -> bool:
            fresh = self.pids(application)
            return len(fresh) == len(old) and not set(fresh) & set(old)

        wait_for(replaced, START_LIMIT_S, f"{application} ready again")

    def madang(self, *arguments: str, typed: str = "") -> str:
        """Run a `madang` command on this venue, type `typed`, and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "madang.cli.main", *arguments, "--state", str(self.state)],
            input=f"{typed}\n",
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def wait_for(condition: Callable[[], bool], limit_s: float, what: str) -> None:
    """Wait until `condition` holds, or fail naming `what` did not come."""
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, f"not within {limit_s} s: {what}"
        time.sleep(POLL_S)


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
    with output.open("wb") as file:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "madang.cli.main", "up",
                "--config", str(config), "--state", str(state),
            ],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    try:
        venue = Venue(folder, _port_when_up(process, output), people, process)
        _wait_for_people(venue)
        yield venue
    finally:
        _stop(process)


def _plan_people(state: Path, names: tuple[str, ...]) -> dict[str, Person]:
    people: dict[str, Person] = {}
    plans: list[AccountPlan] = []
    for name in names:
        poor = name.startswith("poor")
        key_id, secret = new_api_key()
        cash = (1_000 if poor else 1_000_000) * CASH_SCALE
        transfers = [TransferPlan(cash, new_request_id().hex())]
        if not poor:
            transfers += [
                TransferPlan(10_000 * QUANTITY_SCALE, new_request_id().hex(), symbol)
                for symbol in SYMBOLS
            ]
        plans.append(
            AccountPlan(
                f"{name}-{secrets.token_hex(3)}",
                new_request_id().hex(),
                keys={key_id: secret_digest(secret)},
                transfers=tuple(transfers),
            )
        )
        people[name] = Person(plans[-1].name, key_id, secret)
    save_plans(state / PENDING, plans)
    return people


def _port_when_up(process: subprocess.Popen[bytes], output: Path) -> int:
    def said() -> str:
        return output.read_text(errors="replace")

    def is_up_or_over() -> bool:
        return "Ctrl-C stops it" in said() or process.poll() is not None

    wait_for(is_up_or_over, START_LIMIT_S, f"the start; it said: {said()[-3000:]}")
    assert process.poll() is None, said()[-3000:]
    address = next(line for line in said().splitlines() if "127.0.0.1:" in line)
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

    wait_for(there, START_LIMIT_S, "accounts")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
