"""Writing a log that no venue has opened yet, and applying it as it is written."""

from __future__ import annotations

from pathlib import Path

from madang.exchange.engine.port import Engine
from madang.exchange.operator import Listing
from madang.exchange.venue.disk import RealDisk, RealFile
from madang.exchange.venue.log import Log
from madang.exchange.venue.segment import RULES_VERSION
from madang.wire.batch import encode_batch
from madang.wire.events import RECORD_HEADER_BYTES, Result, parse_result, split_records
from madang.wire.records import parse_instrument

TERM = 1


class _UnsyncedFile(RealFile):
    """A file of a log that is not yet in its place: it is made durable once, at the end."""

    __slots__ = ()

    def fdatasync(self) -> None:
        """Do nothing."""


class UnsyncedDisk(RealDisk):
    """This machine's disk, on which nothing is durable until `make_durable`."""

    def open(self, path: Path, *, create: bool = False) -> RealFile:
        """Open for reading and writing, without a promise."""
        file = super().open(path, create=create)
        file.__class__ = _UnsyncedFile
        return file

    def sync_folder(self, folder: Path) -> None:
        """Do nothing."""


def make_durable(disk: RealDisk, folder: Path) -> None:
    """Return when the files of a folder are durable, with their names; raises OSError."""
    for name in disk.names(folder):
        file = disk.open(folder / name)
        file.fdatasync()
        file.close()
    disk.sync_folder(folder)


class Pen:
    """Writes batches and applies them, as a venue does."""

    def __init__(self, engine: Engine, log: Log, now_ns: int) -> None:
        self.engine = engine
        self._log = log
        self._last_ns = now_ns

    def write(self, commands: list[bytes], now_ns: int) -> bytes:
        """Log the commands at `now_ns` or right after what came before; return their events."""
        now_ns = max(now_ns, self._last_ns + 1)
        first = self.engine.sequence + 1
        record = encode_batch(
            b"".join(commands), len(commands), term=TERM, sequence=first, now_ns=now_ns,
            rules_version=RULES_VERSION,
        )  # fmt: skip
        self._log.write(record, first)
        self._last_ns = now_ns + len(commands) - 1
        return self.engine.apply(record)

    async def submit(self, command: bytes) -> Result:
        """Log one command right after what came before."""
        events = self.write([command], self._last_ns + 1)
        *_, (_, offset, _) = split_records(events)
        return parse_result(events, offset)

    def listing(self) -> Listing:
        """Return the instruments; there are no accounts yet."""
        listing = Listing({}, {}, [])
        data = self.engine.instruments()
        for _, offset, _ in split_records(data):
            instrument = parse_instrument(data, offset + RECORD_HEADER_BYTES)
            listing.instruments[instrument.symbol] = instrument
        return listing
