"""`madang venue verify` and `inspect`: what a state folder holds, and whether that is sound.

Both only read, and may run beside the venue: then pass what the venue says is committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from madang.core.errors import MadangError
from madang.exchange.engine.port import Engine
from madang.exchange.venue.balances import Balances
from madang.exchange.venue.disk import Disk, RealDisk
from madang.exchange.venue.errors import SnapshotDamaged
from madang.exchange.venue.readable import readable_command
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.replica import EngineFactory, engine_factory
from madang.exchange.venue.snapshot import FOLDER as SNAPSHOT_FOLDER
from madang.exchange.venue.snapshot import Snapshot, newest_snapshots, restore_snapshot
from madang.exchange.venue.walk import Walk
from madang.wire.batch import commands_of
from madang.wire.commands import split_commands


class VerifyFailed(MadangError):
    """The state folder is not as it should be; `problems` lists in what."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems), problems=problems)


class VerifyReport(msgspec.Struct, frozen=True):
    """What a verification has read and found to agree."""

    first: int
    sequence: int
    commands: int
    batches: int
    segments: int
    snapshots_compared: int
    torn_bytes: int
    orders: int
    accounts: int
    trades: int
    state_hash: str


def verify(state_dir: Path, engine: str = "auto", committed: int | None = None) -> VerifyReport:
    """Replay everything, recompute balances, compare every snapshot, check every invariant.

    Raises VerifyFailed, LogDamaged, LogUnreadable, OSError.
    """
    return _Verification(RealDisk(), state_dir, engine_factory(engine)).run(committed)


class _Verification:
    def __init__(self, disk: Disk, state_dir: Path, factory: EngineFactory) -> None:
        self._disk = disk
        self._state_dir = state_dir
        self._factory = factory
        self._problems: list[str] = []
        self._snapshots: dict[int, Snapshot] = {}
        for file, snapshot in newest_snapshots(disk, state_dir / SNAPSHOT_FOLDER):
            if isinstance(snapshot, SnapshotDamaged):
                self._problems.append(snapshot.message)
            else:
                self._snapshots[file.sequence] = snapshot

    def run(self, committed: int | None) -> VerifyReport:
        walk = Walk(self._disk, self._state_dir / LOG_FOLDER, committed)
        first = walk.segments[0].first if walk.segments else 1
        engine = self._base(first)
        base = engine.sequence
        balances = Balances(engine, complete=base == 0)
        commands = batches = compared = 0
        compared += self._compare(engine)
        for place in walk:
            if place.header.sequence <= base:
                continue
            balances.take(engine.apply(place.record))
            commands += place.header.command_count
            batches += 1
            compared += self._compare(engine)
        if self._snapshots and max(self._snapshots) > engine.sequence and committed is None:
            self._problems.append(f"a snapshot of {max(self._snapshots)} is beyond the log's end")
        self._problems += balances.differences(engine)
        try:
            engine.check()
        except AssertionError as error:
            self._problems.append(f"invariant broken: {error}")
        if self._problems:
            raise VerifyFailed(self._problems)
        counts = engine.statistics()
        return VerifyReport(
            first,
            engine.sequence,
            commands,
            batches,
            len(walk.segments),
            compared,
            walk.torn_bytes,
            counts["orders"],
            counts["accounts"],
            counts["trades"],
            engine.state_hash().hex(),
        )

    def _base(self, first: int) -> Engine:
        """Return the engine to begin with: empty, or the oldest snapshot that the log continues."""
        if first == 1:
            return self._factory.create()
        for sequence in sorted(self._snapshots):
            if sequence + 1 >= first:
                return restore_snapshot(self._factory, self._snapshots[sequence])
        raise VerifyFailed(
            [*self._problems, f"the log begins with {first} and no snapshot reaches it"]
        )

    def _compare(self, engine: Engine) -> int:
        snapshot = self._snapshots.get(engine.sequence)
        if snapshot is None:
            return 0
        if engine.state_hash() != snapshot.state_hash:
            self._problems.append(f"snapshot of {snapshot.sequence} differs from the replay")
        return 1


def inspect(
    state_dir: Path, after: int = 0, limit: int | None = None, committed: int | None = None
) -> Iterator[dict[str, object]]:
    """Yield batches and commands after command `after`, readable, at most `limit` commands.

    A batch gives one map of its own ("batch") before its commands. Values of credentials are left
    out. Raises LogDamaged, LogUnreadable, OSError.
    """
    left = -1 if limit is None else limit
    for place in Walk(RealDisk(), state_dir / LOG_FOLDER, committed):
        header = place.header
        if header.last_sequence <= after:
            continue
        if left == 0:
            return
        yield {
            "batch": header.sequence,
            "file": place.segment.path.name,
            "offset": place.offset,
            "bytes": header.length,
            "term": header.term,
            "rules_version": header.rules_version,
            "now_ns": header.now_ns,
            "commands": header.command_count,
        }
        records = split_commands(commands_of(place.record, header))
        for sequence, command in enumerate(records, header.sequence):
            if sequence > after and left != 0:
                yield {"sequence": sequence, **readable_command(command)}
                left -= 1
