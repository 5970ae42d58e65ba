"""The real product as a child process: started as a user starts it, killed as fate kills it."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from madang.exchange.bootstrap import PENDING, AccountPlan, save_plans
from madang.exchange.operator import new_api_key, secret_digest
from tests.support import running

PORT_MIN = 20_000


class Trader(NamedTuple):
    """An account that exists once the product runs."""

    name: str
    key_id: str
    secret: str
    cash: int
    shares: int


def free_port() -> int:
    """Return a port that is free, and that the kernel gives to nobody while we are down."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = secrets.choice(range(PORT_MIN, first_given) or range(PORT_MIN, 2**16))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def settings_text(port: int, workers: int, symbols: dict[str, str], extra: str = "") -> str:
    """Return a madang.toml for the loopback address."""
    instruments = "".join(
        f'[[venue.instruments]]\nsymbol = "{symbol}"\nreference_price = "{price}"\n'
        for symbol, price in symbols.items()
    )
    return (
        f"[cluster]\nworkers = {workers}\n[edge]\nport = {port}\n"
        f"[venue]\nfees = {{ maker_ppm = 100, taker_ppm = 300 }}\n{extra}{instruments}"
    )


class Product:
    """One state folder and whatever runs on it."""

    def __init__(self, folder: Path, workers: int, symbols: dict[str, str]) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.port = free_port()
        self.symbols = symbols
        self.output = folder / "output.txt"
        self.process: running.Process | None = None
        self.state.mkdir(mode=0o700)
        (folder / "madang.toml").write_text(settings_text(self.port, workers, symbols))

    def plan_traders(self, count: int, cash: int, shares: int) -> list[Trader]:
        """Write the plan for `count` accounts with cash and shares of every symbol, in units."""
        plans: list[AccountPlan] = []
        traders: list[Trader] = []
        for index in range(count):
            key_id, secret = new_api_key()
            name = f"trader-{index}-{secrets.token_hex(3)}"
            owned = dict.fromkeys(self.symbols, shares)
            plans.append(running.account_plan(name, {key_id: secret_digest(secret)}, cash, owned))
            traders.append(Trader(name, key_id, secret, cash, shares))
        save_plans(self.state / PENDING, plans)
        return traders

    def start(self) -> None:
        """Start the supervisor; does not wait."""
        arguments = ["up", "--config", str(self.folder / "madang.toml"), "--state", str(self.state)]
        self.process = running.start(arguments, self.output)

    def wait_until_up(self) -> None:
        """Wait until every instance is ready."""
        process = self.process
        assert process is not None

        def ready_or_over() -> bool:
            rows = self.rows()
            ready = bool(rows) and all(row["state"] == "ready" for row in rows)
            return ready or process.poll() is not None

        running.wait_for(ready_or_over, running.START_LIMIT_S, running.said(self.output))
        assert process.poll() is None, running.said(self.output)

    def run(self, *arguments: str) -> str:
        """Run another `madang` command on this state folder and return what it printed."""
        return running.run_madang(self.state, *arguments)

    def rows(self) -> list[dict[str, object]]:
        """Return the rows of `madang ls`, none while nothing answers."""
        return running.rows(self.state)

    def pid_of(self, name: str) -> int | None:
        """Return the process id of an instance that is ready."""
        for row in self.rows():
            if row["name"] == name and row["state"] == "ready":
                return int(str(row["pid"]))
        return None

    def kill_supervisor(self) -> None:
        """Kill the supervisor as a power switch would, and reap it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(running.STOP_LIMIT_S)

    def stop(self) -> None:
        """Stop gracefully, if it runs."""
        if self.process is not None:
            running.stop(self.process)


@contextmanager
def running_product(
    folder: Path, *, workers: int, symbols: dict[str, str], traders: int, cash: int, shares: int
) -> Iterator[tuple[Product, list[Trader]]]:
    """Yield a running product and its traders; stops it in the end."""
    product = Product(folder, workers, symbols)
    people = product.plan_traders(traders, cash, shares)
    product.start()
    try:
        product.wait_until_up()
        yield product, people
    finally:
        product.stop()
