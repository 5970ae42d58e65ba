"""What can go wrong around the log, sorted by what follows from it.

LogError
├── LogDamaged     durable bytes are not what was written: names file and offset
├── LogUnreadable  a format or rules version newer than this program
├── LogFull        no room: nothing was written, the commands may be refused with a definite no
└── LogFailed      a write or sync failed: what is durable is unknown, the process must end
SnapshotDamaged    a snapshot that is not used; an older one may be
Refused            the sequencer's definite no: nothing of the request was or will be logged
├── VenueOverloaded, VenueFull, WaitedTooLong, BadFraming
"""

from __future__ import annotations

from pathlib import Path

from madang.core.errors import MadangError


class LogError(MadangError):
    """Root of the log's errors."""


class LogDamaged(LogError):
    """The log cannot be trusted from `offset` of `file` on."""

    def __init__(self, file: Path, offset: int, reason: str) -> None:
        super().__init__(
            f"{file}: damaged at offset {offset}: {reason}; restore it from a backup or replica",
            file=str(file),
            offset=offset,
            reason=reason,
        )


class LogUnreadable(LogError):
    """A newer program wrote this."""


class LogFull(LogError):
    """There is no room on the disk for the next batch; nothing of it is in the log."""


class LogFailed(LogError):
    """The disk refused a write or a sync: it is not known what is durable."""


class SnapshotDamaged(MadangError):
    """A snapshot whose bytes are not what was written."""


class Refused(MadangError):
    """Nothing of the request is or will be in the log."""


class VenueOverloaded(Refused):
    """As much is waiting as may wait."""


class VenueFull(Refused):
    """The disk is full."""


class WaitedTooLong(Refused):
    """The request was not logged within its time and was taken out again."""


class BadFraming(Refused):
    """The request is not a sequence of command records."""
