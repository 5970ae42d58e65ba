"""How fast a venue comes back: commands replayed per second, and a start from a snapshot.

A log is written as the venue writes it (sequencer, batches, this machine's disk): exchange-core's
mix of 9% orders that rest, 3% immediate ones, 6% cancels, 82% replacements, over 1,000 accounts.
Then `recover` reads, checks and applies it (`replay_commands_per_s`). A second state folder gets
100,000 open orders and a snapshot; `snapshot_start_s` is `recover` with that, from reading the file
to the end of the log.

The peer is a program that keeps its orders in SQLite and reads them into memory when it starts.
"""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import harness
from madang.exchange.engine import engine_name
from madang.exchange.venue.disk import RealDisk
from madang.exchange.venue.log import LogSettings
from madang.exchange.venue.recovery import recover
from madang.exchange.venue.replica import engine_factory
from madang.exchange.venue.sequencer import Sequencer, SequencerSettings
from madang.exchange.venue.snapshot import write_snapshot_bytes
from madang.wire.codes import OrderType, Reason, Side, TimeInForce
from madang.wire.commands import (
    InstrumentTerms,
    OrderTerms,
    ReplaceTerms,
    encode_cancel,
    encode_create_account,
    encode_new_order,
    encode_replace,
    encode_set_instrument,
    encode_transfer,
)
from madang.wire.events import Result, parse_result, split_records

ACCOUNTS = 1_000
SYMBOLS = 8
SHARE = 10**9
BATCH_COMMANDS = 200
OPEN_ORDERS = 100_000
RESTING = 1_000
ROUNDS = 3


class Writer:
    """A venue without a bus: takes commands, writes the log, returns the results."""

    def __init__(self, folder: Path, engine: str) -> None:
        self._recovered = recover(RealDisk(), folder, engine_factory(engine), LogSettings())
        self.engine = self._recovered.engine
        self._sequencer = Sequencer(self.engine, 1, 0, SequencerSettings())
        self._answer = b""

    def respond(self, payload: bytes) -> None:
        self._answer = payload

    def refuse(self, error: str) -> None:
        raise SystemExit(error)

    def write(self, commands: list[bytes]) -> list[Result]:
        self._sequencer.offer(self, b"".join(commands), 0)
        record = self._sequencer.begin(time.time_ns(), 0)
        assert record is not None
        self._recovered.log.write(record, self._sequencer.writing_first)
        self._sequencer.durable()
        self._sequencer.apply(lambda _: False)
        return [parse_result(self._answer, offset) for _, offset, _ in split_records(self._answer)]

    def prepare(self) -> None:
        commands = [
            encode_set_instrument(os.urandom(16), InstrumentTerms(b"S%d" % number))
            for number in range(SYMBOLS)
        ]
        for number in range(1, ACCOUNTS + 1):
            commands.append(encode_create_account(os.urandom(16), b"trader %d" % number))
            commands.append(encode_transfer(number, os.urandom(16), 0, 10**15))
            commands += [
                encode_transfer(number, os.urandom(16), symbol, 10**14)
                for symbol in range(1, SYMBOLS + 1)
            ]
        for start in range(0, len(commands), BATCH_COMMANDS):
            results = self.write(commands[start : start + BATCH_COMMANDS])
            assert all(result.reason == Reason.OK for result in results)

    def close(self) -> None:
        self._recovered.log.close()


class Mix:
    """Commands in exchange-core's mix over about RESTING live orders."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._live: list[tuple[int, int]] = []
        self._number = 0

    def command(self) -> bytes:
        chance = self._chance
        self._number += 1
        cid = b"%d" % self._number
        roll = chance.random()
        if len(self._live) < RESTING // 2 or (roll < 0.12 and len(self._live) < RESTING):
            account = chance.randrange(ACCOUNTS) + 1
            ioc = roll < 0.03
            return encode_new_order(account, os.urandom(16), _terms(chance, ioc), cid)
        index = chance.randrange(len(self._live))
        self._live[index], self._live[-1] = self._live[-1], self._live[index]
        account, order_id = self._live.pop()
        if roll < 0.18:
            return encode_cancel(account, os.urandom(16), order_id)
        terms = ReplaceTerms(order_id, limit_price=_price(chance))
        return encode_replace(account, os.urandom(16), terms, cid)

    def learn(self, results: list[Result]) -> None:
        for result in results:
            if result.order is not None and result.order.status <= 3:
                self._live.append((result.account, result.number))


def _price(chance: random.Random) -> int:
    return (10_000 + chance.randrange(-375, 376)) * 100


def _terms(chance: random.Random, immediate: bool) -> OrderTerms:
    side = chance.choice((Side.BUY, Side.SELL))
    shift = -380 if side == Side.BUY else 380
    return OrderTerms(
        instrument=chance.randrange(SYMBOLS) + 1,
        side=side,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.IOC if immediate else TimeInForce.GTC,
        quantity=chance.randrange(1, 100) * SHARE,
        limit_price=_price(chance) + (0 if immediate else shift * 100),
    )


def write_log(folder: Path, engine: str, commands: int) -> None:
    writer = Writer(folder, engine)
    writer.prepare()
    mix = Mix(1)
    for _ in range(commands // BATCH_COMMANDS):
        mix.learn(writer.write([mix.command() for _ in range(BATCH_COMMANDS)]))
    writer.close()


def write_open_orders(folder: Path, engine: str) -> None:
    writer = Writer(folder, engine)
    writer.prepare()
    chance = random.Random(2)
    for _ in range(OPEN_ORDERS // BATCH_COMMANDS):
        writer.write(list(_resting(chance)))
    found = writer.engine
    assert found.statistics()["orders"] == OPEN_ORDERS
    write_snapshot_bytes(folder, found.sequence, found.snapshot(), found.state_hash())
    writer.close()


def _resting(chance: random.Random) -> Iterator[bytes]:
    for _ in range(BATCH_COMMANDS):
        terms = _terms(chance, immediate=False)
        buy = terms.side == Side.BUY
        terms.limit_price = (9_000 if buy else 11_000) * 100 + chance.randrange(-900, 900) * 100
        account = chance.randrange(ACCOUNTS) + 1
        yield encode_new_order(account, os.urandom(16), terms, os.urandom(8).hex().encode())


def measure_recovery(folder: Path, engine: str) -> tuple[int, float]:
    started = time.perf_counter()
    recovered = recover(RealDisk(), folder, engine_factory(engine), LogSettings())
    seconds = time.perf_counter() - started
    recovered.log.close()
    recovered.engine.check()
    return recovered.report.commands_replayed, seconds


def sqlite_peer(folder: Path, rows: int) -> dict[str, float]:
    base = sqlite3.connect(folder / "peer.db")
    base.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, account, cid, side, qty, price)")
    base.executemany(
        "INSERT INTO orders (account, cid, side, qty, price) VALUES (?, ?, ?, ?, ?)",
        ((row % ACCOUNTS, f"order-{row}", row & 1, SHARE, 1_000_000) for row in range(rows)),
    )
    base.commit()
    started = time.perf_counter()
    loaded = {row[0]: row for row in base.execute("SELECT * FROM orders")}
    seconds = time.perf_counter() - started
    assert len(loaded) == rows
    base.close()
    return {
        "replay_commands_per_s": round(rows / seconds),
        "snapshot_start_s": round(seconds * OPEN_ORDERS / rows, 3),
    }


def main() -> None:
    options = harness.options("How fast a venue comes back: replay, and a start from a snapshot.")
    engine = engine_name()
    commands = 500_000 if options.quick else 3_000_000
    if engine == "python":
        commands //= 10
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        harness.say(f"writing {commands} commands")
        write_log(folder / "replay", engine, commands)
        harness.say("replaying them")
        runs = [measure_recovery(folder / "replay", engine) for _ in range(ROUNDS)]
        replayed, seconds = min(runs, key=lambda run: run[1])
        harness.say(f"{OPEN_ORDERS} open orders")
        write_open_orders(folder / "snapshot", engine)
        starts = [measure_recovery(folder / "snapshot", engine)[1] for _ in range(ROUNDS)]
        peer = sqlite_peer(folder, OPEN_ORDERS * 3)
    ours = {
        "replay_commands_per_s": round(replayed / seconds),
        "snapshot_start_s": round(min(starts), 3),
    }
    report = harness.Report("recovery", ours, {"sqlite": peer})
    report.conditions = {
        "engine": engine,
        "commands": replayed,
        "commands_per_batch": BATCH_COMMANDS,
        "open_orders_in_snapshot": OPEN_ORDERS,
        "best_of": ROUNDS,
        "peer": "SQLite: rows of orders read into a dict",
    }
    report.print(options)


if __name__ == "__main__":
    main()
