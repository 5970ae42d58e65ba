"""`madang sim` on the real product: its rate, restarts under it, and a clean end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from madang.exchange.sim.rest import Address, Key, RestClient
from tests.support import running
from tests.support.venue_fixture import Venue, running_venue

LIMIT_S = 60.0
RATE = 60
STEADY_S = 5


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "one", "two") as product:
        yield product


class Sim:
    """A running `madang sim --json` and what it has reported."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.reports: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.reports.append(json.loads(line))

    def wait_for_reports(self, count: int) -> list[dict[str, Any]]:
        """Return the next `count` reports."""
        have = len(self.reports)
        running.wait_for(lambda: len(self.reports) >= have + count, LIMIT_S, "reports")
        return self.reports[have : have + count]

    def wait_until_steady(self) -> None:
        """Wait for a second in which everybody is there and orders are acknowledged."""

        def steady() -> bool:
            (last,) = self.wait_for_reports(1)
            return bool(last["acknowledged"] > RATE / 2 and last["ready"] == last["accounts"])

        running.wait_for(steady, LIMIT_S, f"a steady rate; the last: {self.reports[-1:]}")

    def close(self) -> None:
        """Wait for the reader of a process that has ended."""
        self._reader.join(LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def end(self) -> int:
        """Send what Ctrl-C sends and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(LIMIT_S)


@contextmanager
def simulation(venue: Venue, *flags: str, **environment: str) -> Iterator[Sim]:
    process = subprocess.Popen(
        [*running.MADANG, "sim", "--url", venue.url, "--rate", str(RATE), "--json", *flags],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        cwd=venue.folder,
    )
    sim = Sim(process)
    try:
        yield sim
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(LIMIT_S)
        sim.close()


def open_orders(venue: Venue, key: Key) -> int:
    rows = RestClient(Address(venue.url), key).get("/v2/orders?status=open&limit=500")
    return len(rows)


def own_keys(state: Path) -> list[Key]:
    return [Key(*pair) for pair in json.loads((state / "sim.json").read_text())["keys"].values()]


def test_it_keeps_its_rate_outlives_restarts_and_leaves_nothing(venue: Venue) -> None:
    flags = ("--state", str(venue.state), "--symbols", "AAPL,MSFT")
    with simulation(venue, *flags) as sim:
        sim.wait_until_steady()
        steady = sim.wait_for_reports(STEADY_S)
        assert 0.8 * RATE < sum(row["sent"] for row in steady) / STEADY_S < 1.2 * RATE
        assert sum(row["trades"] for row in steady) > 0
        assert sum(row["refused"] for row in steady) < 0.1 * STEADY_S * RATE
        for application in ("worker", "venue"):
            venue.kill(application)
            sim.wait_until_steady()
        assert sum(row["refused"] for row in sim.wait_for_reports(2)) < 0.2 * RATE
        keys = own_keys(venue.state)
        assert sum(open_orders(venue, key) for key in keys) > 20
        assert sim.end() == 0
        assert [open_orders(venue, key) for key in keys] == [0] * len(keys)
    first = (venue.state / "sim.json").read_bytes()
    with simulation(venue, *flags, "--seconds", "2") as sim:
        assert sim.process.wait(LIMIT_S) == 0
    assert (venue.state / "sim.json").read_bytes() == first


def test_an_unknown_symbol_is_said_whoever_asks(venue: Venue) -> None:
    person = venue.people["one"]
    given = f"{person.key_id}:{person.secret}"
    with simulation(venue, "--symbols", "NOSUCH", MADANG_SIM_KEYS=given) as sim:
        assert sim.process.wait(LIMIT_S) == 1


def test_it_waits_for_a_venue_that_is_not_there_yet_until_it_is_told_to_end(venue: Venue) -> None:
    flags = ("--url", "http://127.0.0.1:9", "--symbols", "AAPL", "--seconds", "1")
    with simulation(venue, *flags, MADANG_SIM_KEYS="key:secret") as sim:
        assert sim.process.wait(LIMIT_S) == 0
        assert not sim.reports


def test_it_uses_the_accounts_it_is_given(venue: Venue) -> None:
    people = venue.people.values()
    given = " ".join(f"{person.key_id}:{person.secret}" for person in people)
    with simulation(venue, "--symbols", "MSFT", MADANG_SIM_KEYS=given) as sim:
        sim.wait_until_steady()
        assert sim.reports[-1]["accounts"] == len(people)
        assert sim.end() == 0
    assert not venue.call("one", "GET", "/v2/orders").rows()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--key", "PKNOBODY:secret"), "401"),
        (("--key", "nonsense"), "KEY_ID:SECRET"),
        (("--url", "ftp://nowhere"), "--url"),
        (("--rate", "0"), "--rate"),
        (("--rate", "5000"), "of them"),
        (("--makers", "0", "--noise", "0", "--trend", "0"), "traders"),
        (("--symbols", "NOSUCH"), "no instrument NOSUCH"),
        (("--symbols", "ZZZZ"), "--price"),
    ],
)
def test_what_cannot_be_meant_is_said(venue: Venue, flags: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [*running.MADANG, "sim", "--url", venue.url, "--state", str(venue.state), *flags],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        cwd=venue.folder,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
