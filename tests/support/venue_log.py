"""Small venues for tests: a log with known content, on any disk, through the real sequencer."""

from __future__ import annotations

from pathlib import Path

from madang.exchange.engine.port import Engine
from madang.exchange.engine.python import PythonEngine
from madang.exchange.venue.disk import Disk
from madang.exchange.venue.log import LogSettings
from madang.exchange.venue.recovery import Recovered, recover
from madang.exchange.venue.sequencer import Applied, Sequencer, SequencerSettings
from madang.wire.codes import OrderType, Side, TimeInForce
from madang.wire.commands import (
    InstrumentTerms,
    OrderTerms,
    encode_create_account,
    encode_new_order,
    encode_set_instrument,
    encode_transfer,
)
from madang.wire.events import Result, parse_result, split_records

SHARE = 10**9
SMALL_LOG = LogSettings(segment_bytes=4096 + 4096, batch_bytes_max=2048)
MEDIUM_LOG = LogSettings(segment_bytes=256 * 1024, batch_bytes_max=64 * 1024)


class PythonFactory:
    """Makes readable engines."""

    def create(self) -> Engine:
        return PythonEngine()

    def restore(self, snapshot: bytes) -> Engine:
        return PythonEngine.restore(snapshot)


class Inbox:
    """The Reply of one request."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.refusals: list[str] = []

    def respond(self, payload: bytes) -> None:
        self.answers.append(payload)

    def refuse(self, error: str) -> None:
        self.refusals.append(error)

    @property
    def results(self) -> list[Result]:
        return [
            parse_result(answer, offset)
            for answer in self.answers
            for _, offset, _ in split_records(answer)
        ]


class SmallVenue:
    """A venue without bus and threads: one call per request, each its own batch."""

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        log: LogSettings = SMALL_LOG,
        settings: SequencerSettings | None = None,
    ) -> None:
        self.recovered: Recovered = recover(disk, folder, PythonFactory(), log)
        self.engine = self.recovered.engine
        self.log = self.recovered.log
        self.settings = settings or SequencerSettings(batch_bytes_max=log.batch_bytes_max)
        last_ns = max(self.recovered.position.now_ns, self.engine.now_ns)
        term = self.recovered.position.term + 1
        self.sequencer = Sequencer(self.engine, term, last_ns, self.settings)
        self.events: list[bytes] = []

    def write(self, *commands: bytes) -> list[Result]:
        """Log, apply and answer commands as one batch."""
        inbox = Inbox()
        self.sequencer.offer(inbox, b"".join(commands), 0)
        self.commit()
        assert not inbox.refusals, inbox.refusals
        return inbox.results

    def commit(self) -> Applied | None:
        """Take one batch through."""
        record = self.sequencer.begin(1, 0)
        if record is None:
            return None
        self.log.write(record, self.sequencer.writing_first)
        self.sequencer.durable()
        applied = self.sequencer.apply(lambda _: True)
        assert applied is not None
        self.events.append(applied.events)
        return applied

    def prepare(self) -> None:
        """Make two accounts with cash and shares of one instrument."""
        self.write(encode_set_instrument(bytes(16), InstrumentTerms(b"AAPL")))
        for account in (1, 2):
            self.write(
                encode_create_account(bytes(16), b"account %d" % account),
                encode_transfer(account, bytes(16), 0, 10**12),
                encode_transfer(account, bytes(16), 1, 10**12),
            )

    def close(self) -> None:
        self.log.close()


def order(number: int, account: int = 1, side: Side = Side.BUY, price: int = 1_000_000) -> bytes:
    """Return a limit order for one share whose ids follow from `number`."""
    terms = OrderTerms(
        instrument=1,
        side=side,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        quantity=SHARE,
        limit_price=price,
    )
    request_id = number.to_bytes(8, "little") + b"request!"
    return encode_new_order(account, request_id, terms, b"order-%d" % number)


def trade(number: int) -> tuple[bytes, bytes]:
    """Return two orders that fill each other."""
    return order(2 * number, 1, Side.BUY), order(2 * number + 1, 2, Side.SELL)
