"""The real product as a child process: started as a user starts it, killed as fate kills it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from madang.cli.settings import runtime_dir
from madang.cluster.control import SOCKET_NAME, request
from madang.cluster.errors import ControlRefused, NotRunning
from madang.core.ids import new_request_id
from madang.exchange.bootstrap import PENDING, AccountPlan, TransferPlan, save_plans
from madang.exchange.operator import new_api_key, secret_digest

START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
POLL_S = 0.02


class Trader(NamedTuple):
    """An account that exists once the product runs."""

    name: str
    key_id: str
    secret: str
    cash: int
    shares: int


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        self.process: subprocess.Popen[bytes] | None = None
        self.state.mkdir(mode=0o700)
        (folder / "madang.toml").write_text(settings_text(self.port, workers, symbols))

    def plan_traders(self, count: int, cash: int, shares: int) -> list[Trader]:
        """Write the plan for `count` accounts with cash and shares of every symbol, in units."""
        plans: list[AccountPlan] = []
        traders: list[Trader] = []
        for index in range(count):
            key_id, secret = new_api_key()
            name = f"trader-{index}-{secrets.token_hex(3)}"
            transfers = [TransferPlan(cash, new_request_id().hex())]
            transfers += [
                TransferPlan(shares, new_request_id().hex(), symbol) for symbol in self.symbols
            ]
            plans.append(
                AccountPlan(
                    name,
                    new_request_id().hex(),
                    keys={key_id: secret_digest(secret)},
                    transfers=tuple(transfers),
                )
            )
            traders.append(Trader(name, key_id, secret, cash, shares))
        save_plans(self.state / PENDING, plans)
        return traders

    def start(self) -> None:
        """Start the supervisor; does not wait."""
        output = (self.folder / "output.txt").open("ab")
        command = [
            sys.executable, "-m", "madang.cli.main", "up",
            "--config", str(self.folder / "madang.toml"), "--state", str(self.state),
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        output.close()

    def wait_until_up(self) -> None:
        """Wait until the start line was printed after the last start."""
        limit = time.monotonic() + START_LIMIT_S
        while time.monotonic() < limit:
            assert self.process is not None
            assert self.process.poll() is None, self.tail()
            rows = self.rows()
            if rows and all(row["state"] == "ready" for row in rows):
                return
            time.sleep(POLL_S)
        raise AssertionError(f"not up within {START_LIMIT_S} s\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of what was printed."""
        path = self.folder / "output.txt"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def run(self, *arguments: str) -> str:
        """Run another `madang` command on this state folder and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "madang.cli.main", *arguments, "--state", str(self.state)],
            capture_output=True,
            text=True,
            timeout=STOP_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self) -> list[dict[str, object]]:
        """Return the rows of `madang ls`, none while nothing answers."""
        try:
            answer = request(runtime_dir(self.state) / SOCKET_NAME, {"command": "ls"})
        except (NotRunning, ControlRefused):
            return []
        rows = answer["rows"]
        assert isinstance(rows, list)
        return rows

    def pid_of(self, name: str) -> int | None:
        """Return the process id of an instance by name."""
        for row in self.rows():
            if row["name"] == name and row["state"] == "ready":
                pid = row["pid"]
                assert isinstance(pid, int)
                return pid
        return None

    def kill_supervisor(self) -> None:
        """Kill the supervisor as a power switch would, and reap it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_LIMIT_S)

    def stop(self) -> None:
        """Stop gracefully; whatever is left after the limit is killed."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_LIMIT_S)
            raise


@contextmanager
def running(
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
