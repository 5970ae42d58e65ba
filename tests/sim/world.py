"""One venue, a few clients and a disk, in one thread, under one seed.

The sequencer, log, recovery, snapshots and the gateway's policy are the real ones; disk, network,
clock and clients are simulated. Each step is drawn by chance: a client sends, the venue takes the
next of its own steps, a snapshot is taken, the power goes. In the end faults stop, everybody asks
once more, and the checker compares.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from madang.exchange.engine.port import Engine
from madang.exchange.engine.python import PythonEngine
from madang.exchange.gateway import Attempts, GatewaySettings, Next, Try
from madang.exchange.venue.errors import LogFailed, LogFull
from madang.exchange.venue.log import Log, LogSettings
from madang.exchange.venue.recovery import LOG_FOLDER, Recovered, recover, replay
from madang.exchange.venue.retention import remove_old_segments
from madang.exchange.venue.segment import Position, list_segments
from madang.exchange.venue.sequencer import Sequencer, SequencerSettings
from madang.exchange.venue.snapshot import FOLDER as SNAPSHOT_FOLDER
from madang.exchange.venue.snapshot import Snapshot, write_snapshot
from madang.wire.codes import OrderType, Reason, SelfTrade, Side, TimeInForce
from madang.wire.commands import (
    InstrumentTerms,
    OrderTerms,
    ReplaceTerms,
    encode_cancel,
    encode_create_account,
    encode_new_order,
    encode_replace,
    encode_set_fees,
    encode_set_instrument,
    encode_transfer,
)
from madang.wire.events import (
    ACCOUNT_BODY,
    POSITION_BODY,
    RECORD_HEADER_BYTES,
    Result,
    parse_result,
    split_records,
)
from tests.sim.checker import Checker, Final
from tests.sim.disk import PowerCut, SimulatedDisk

STATE = Path("/state")
ACCOUNTS = (1, 2, 3)
INSTRUMENTS = (1, 2)
CASH = 10**12
SHARES = 10**12
MAKER_PPM, TAKER_PPM = 100, 230
SHARE = 10**9
STEPS = (40, 60, 200)
LOG = LogSettings(segment_bytes=4096 + 6 * 1024, batch_bytes_max=2048)
SEQUENCER = SequencerSettings(batch_bytes_max=2048, batch_commands_max=12, waiting_commands_max=24)
GATEWAY = GatewaySettings(resend_ms=5_000)
MILLISECOND = 1_000_000


class Factory:
    """Makes readable engines."""

    def create(self) -> Engine:
        return PythonEngine()

    def restore(self, snapshot: bytes) -> Engine:
        return PythonEngine.restore(snapshot)


class Faults(NamedTuple):
    """What is taken out of the venue, to see the checker find it."""

    fdatasync_lies: bool = False
    answer_first: bool = False


class Request:
    """One request of a client, carried until its outcome is known; also the venue's Reply."""

    def __init__(self, client: Client, commands: list[bytes], now_ns: int) -> None:
        self.client = client
        self.commands = commands
        self.attempts = Attempts(GATEWAY, now_ns)
        self.under_way = False

    def respond(self, payload: bytes) -> None:
        self.client.answered(self, payload)

    def refuse(self, error: str) -> None:
        self.client.refused(self)


class _Try:
    """One delivery of a request: dead once the venue died or the link was lost."""

    def __init__(self, request: Request, world: World) -> None:
        self.request = request
        self.world = world
        self.open = True

    def respond(self, payload: bytes) -> None:
        if self.open:
            self.open = False
            if self.world.chance.random() < 0.05:
                self.request.client.tried(self.request, Try.UNKNOWN)  # the answer was lost
            else:
                self.request.respond(payload)

    def refuse(self, error: str) -> None:
        if self.open:
            self.open = False
            self.request.refuse(error)


class Client:
    """A worker with one trading account: sends, resends, concludes, and tells the checker."""

    def __init__(self, world: World, account: int) -> None:
        self.world = world
        self.account = account
        self.request: Request | None = None
        self.live: list[int] = []
        self.all_commands: dict[bytes, bytes] = {}
        self._count = 0

    def send(self) -> None:
        """Send the next request, or the pending one again."""
        if self.request is None:
            commands = [self._command() for _ in range(self.world.chance.choice((1, 1, 2, 4)))]
            self.request = Request(self, commands, self.world.now_ns)
        if not self.request.under_way:
            self.request.under_way = True
            self.world.deliver(self.request)

    def _command(self) -> bytes:
        chance = self.world.chance
        self._count += 1
        request_id = chance.randbytes(15) + b"\1"
        name = f"{self.account}-{self._count}".encode()
        roll = chance.random()
        if self.live and roll < 0.2:
            command = encode_cancel(self.account, request_id, chance.choice(self.live))
        elif self.live and roll < 0.3:
            terms = ReplaceTerms(chance.choice(self.live), quantity=chance.randrange(1, 9) * SHARE)
            command = encode_replace(self.account, request_id, terms, name)
        else:
            price = (10_000 + chance.randrange(-3, 4)) * 100
            order = OrderTerms(
                instrument=chance.choice(INSTRUMENTS),
                side=chance.choice((Side.BUY, Side.SELL)),
                type=OrderType.LIMIT,
                time_in_force=chance.choice((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC)),
                quantity=chance.randrange(1, 9) * SHARE + chance.randrange(3),
                limit_price=price,
                self_trade=SelfTrade.CANCEL_OLDEST,
            )
            command = encode_new_order(self.account, request_id, order, name)
        self.all_commands[request_id] = command
        return command

    def answered(self, request: Request, payload: bytes) -> None:
        """Take the outcomes of a request."""
        results = [parse_result(payload, offset) for _, offset, _ in split_records(payload)]
        assert len(results) == len(request.commands)
        for result in results:
            self.world.checker.result(result)
            if result.reason == Reason.OK and result.order is not None:
                self.live = [*self.live[-5:], result.number]
        self.request = None

    def refused(self, request: Request) -> None:
        """The venue said no."""
        self.tried(request, Try.REFUSED)

    def tried(self, request: Request, how: Try) -> None:
        """A try brought no answer: conclude as the gateway does."""
        request.under_way = False
        follows = request.attempts.ended(how, self.world.now_ns)
        if follows is Next.SAY_NO:
            for command in request.commands:
                self.world.checker.definite_no(command[8:24])
        if follows is not Next.RESEND:
            self.request = None


class World:
    """The simulation of one seed."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.chance = random.Random(seed)
        self.faults = faults
        self.disk = template().clone(seed + 1)
        self.disk.lies = faults.fdatasync_lies
        self.disk.short_writes = self.chance.choice((0.0, 0.2))
        self.now_ns = 1_000_000_000
        self.restarts = 0
        self.torn_tails = 0
        self.removed = 0
        self.snapshots_failed = 0
        self.archive: dict[Path, bytes] = {}
        self.checker = Checker(
            dict.fromkeys(ACCOUNTS, CASH),
            {(account, number): SHARES for account in ACCOUNTS for number in INSTRUMENTS},
            MAKER_PPM,
            TAKER_PPM,
        )
        self.clients = [Client(self, account) for account in ACCOUNTS]
        self._tries: list[_Try] = []
        self._term = 1
        self._start()

    def _start(self) -> None:
        """Recover, through power cuts while recovering."""
        while True:
            if self.chance.random() < 0.2:
                self.disk.cut_in = self.chance.randrange(1, 10)
            try:
                recovered = recover(self.disk, STATE, Factory(), LOG)
            except PowerCut:
                self.disk.power_cut()
                continue
            self.disk.calm()
            self._term += 1
            self.torn_tails += recovered.report.torn_tail is not None
            self._use(recovered)
            return

    def _use(self, recovered: Recovered) -> None:
        self.engine: Engine = recovered.engine
        self.log: Log = recovered.log
        last_ns = max(recovered.position.now_ns, self.engine.now_ns)
        self.sequencer = Sequencer(self.engine, self._term, last_ns, SEQUENCER)
        self.record: bytes | None = None

    def deliver(self, request: Request) -> None:
        """Carry a request to the venue."""
        if self.chance.random() < 0.03:
            request.client.tried(request, Try.NOT_DELIVERED)
            return
        delivery = _Try(request, self)
        self._tries = [one for one in self._tries if one.open]
        self._tries.append(delivery)
        self.sequencer.offer(delivery, b"".join(request.commands), self.now_ns)

    def run(self) -> None:
        """Take STEPS steps by chance, then settle and check."""
        for _ in range(self.chance.choice(STEPS)):
            self.now_ns += self.chance.randrange(1, 200) * MILLISECOND
            self._guarded(self._step)
        self._settle()
        self.checker.check(self._ask_everything())

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except PowerCut:
            self.disk.power_cut()
            self._restart()
        except LogFailed:
            self._died()

    def _died(self) -> None:
        """The process ended; perhaps the machine with it."""
        if self.chance.random() < 0.5:
            self.disk.power_cut()
        else:
            self.disk.killed()
        self._restart()

    def _restart(self) -> None:
        self.restarts += 1
        for delivery in self._tries:
            if delivery.open:
                delivery.open = False
                delivery.request.client.tried(delivery.request, Try.UNKNOWN)
        self._tries = []
        self._start()

    def _step(self) -> None:
        roll = self.chance.random()
        if roll < 0.45:
            self.chance.choice(self.clients).send()
        elif roll < 0.85:
            self._venue_step()
        elif roll < 0.88:
            self._take_snapshot()
        elif roll < 0.91:
            self._remove_segments()
        elif roll < 0.94:
            self.disk.cut_in = self.chance.randrange(1, 12)
        elif roll < 0.95:
            self._died()
        elif roll < 0.96:
            self.disk.fail_in = self.chance.randrange(1, 4)
            self.disk.fail_what = self.chance.choice(("fdatasync", "pwrite"))
        elif roll < 0.98:
            self._prepare()
        else:
            room = self.chance.choice((0, 100, 9000, 1 << 40))
            self.disk.capacity = self.disk.used() + room

    def _remove_segments(self) -> None:
        """Shorten the log; what clients may ask for, the history, is kept aside."""
        for segment in list_segments(self.disk, STATE / LOG_FOLDER):
            self.archive[segment.path] = self.disk.content(segment.path)
        self.removed += len(remove_old_segments(self.disk, STATE, retain=2))

    def _prepare(self) -> None:
        try:
            if self.log.needs_next:
                self.log.prepare_next()
        except LogFull:
            pass

    def _venue_step(self) -> None:
        """Begin a batch, or write the one begun; then, now or later, apply."""
        if self.record is None:
            self.record = self.sequencer.begin(self.now_ns, self.now_ns)
            if self.record is not None and self.chance.random() < 0.5:
                return  # requests come while the batch is on its way
        if self.record is not None:
            self._write()
        while self.chance.random() < 0.8 and self._apply():
            pass

    def _write(self) -> None:
        assert self.record is not None
        record, first = self.record, self.sequencer.writing_first
        if self.faults.answer_first:
            self.sequencer.durable()
            self._apply()
        try:
            self.log.write(record, first)
        except LogFull:
            if not self.faults.answer_first:
                self.sequencer.refuse_writing(self.now_ns)
            self.record = None
            return
        if not self.faults.answer_first:
            self.sequencer.durable()
        self.record = None

    def _apply(self) -> bool:
        applied = self.sequencer.apply(lambda account: account in ACCOUNTS)
        if applied is None:
            return False
        for records in applied.deliveries.orders.values():
            for record in records:
                if self.chance.random() < 0.9:
                    self.checker.event(record)
        return True

    def _take_snapshot(self) -> None:
        payload = self.engine.snapshot()
        snapshot = Snapshot(self.engine.sequence, payload, self.engine.state_hash())
        try:
            write_snapshot(self.disk, STATE / SNAPSHOT_FOLDER, snapshot, Factory())
        except OSError:
            self.snapshots_failed += 1

    def _settle(self) -> None:
        """Stop the faults, begin once more, let every client come to its outcome."""
        self.disk.calm()
        self.disk.capacity = 1 << 40
        self._died()
        for _ in range(10):
            for client in self.clients:
                if client.request is not None:
                    client.send()
            self._drain()

    def _drain(self) -> None:
        while not self.sequencer.idle:
            self.now_ns += MILLISECOND
            if self.record is None:
                self.record = self.sequencer.begin(self.now_ns, self.now_ns)
            if self.record is not None:
                self._write()
            self._apply()

    def _ask_everything(self) -> Final:
        events = self._history()
        outcomes: dict[bytes, Result] = {}
        for client in self.clients:
            for request_id, command in client.all_commands.items():
                if request_id in self.checker.outcomes:
                    outcomes[request_id] = self._ask(command)
        cash, shares = {}, {}
        for account in ACCOUNTS:
            record = self.engine.account(account)
            assert record is not None
            cash[account] = ACCOUNT_BODY.unpack_from(record, RECORD_HEADER_BYTES)[4]
            positions = self.engine.positions(account)
            for _, offset, _ in split_records(positions):
                fields = POSITION_BODY.unpack_from(positions, offset + RECORD_HEADER_BYTES)
                shares[account, fields[1]] = fields[2]
        self.engine.check()
        return Final(outcomes, events, cash, shares)

    def _ask(self, command: bytes) -> Result:
        answers: list[bytes] = []

        class Asked:
            def respond(self, payload: bytes) -> None:
                answers.append(payload)

            def refuse(self, error: str) -> None:
                raise AssertionError(error)

        self.sequencer.offer(Asked(), command, self.now_ns)
        self._drain()
        return parse_result(answers[0])

    def _history(self) -> bytes:
        """Return every event since the beginning, as the history of all accounts shows them."""
        library = SimulatedDisk(0)
        for path, content in self.archive.items():
            library.put(path, content)
        for segment in list_segments(self.disk, STATE / LOG_FOLDER):
            library.put(segment.path, self.disk.content(segment.path))
        engine = Factory().create()
        events: list[bytes] = []
        replay(
            library,
            list_segments(library, STATE / LOG_FOLDER),
            lambda record: events.append(engine.apply(record)),
            Position(0, 0, 0),
        )
        return b"".join(events)


@functools.cache
def template() -> SimulatedDisk:
    """Return the disk of a venue with accounts, instruments and deposits."""
    disk = SimulatedDisk(0)
    recovered = recover(disk, STATE, Factory(), LOG)
    sequencer = Sequencer(recovered.engine, 1, 0, SEQUENCER)
    commands = [encode_set_fees(bytes(16), MAKER_PPM, TAKER_PPM)]
    commands += [
        encode_set_instrument(bytes(16), InstrumentTerms(b"S%d" % number)) for number in INSTRUMENTS
    ]
    for account in ACCOUNTS:
        commands.append(encode_create_account(bytes(16), b"account %d" % account))
        commands.append(encode_transfer(account, bytes(16), 0, CASH))
        commands += [encode_transfer(account, bytes(16), number, SHARES) for number in INSTRUMENTS]

    class Nobody:
        def respond(self, payload: bytes) -> None:
            for _, offset, _ in split_records(payload):
                assert parse_result(payload, offset).reason == Reason.OK

        def refuse(self, error: str) -> None:
            raise AssertionError(error)

    for command in commands:
        sequencer.offer(Nobody(), command, 0)
        record = sequencer.begin(1, 0)
        assert record is not None
        recovered.log.write(record, sequencer.writing_first)
        sequencer.durable()
        assert sequencer.apply(lambda _: False) is not None
    return disk
