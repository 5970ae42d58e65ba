"""The bounds of the bus, one frozen value."""

from __future__ import annotations

from pathlib import Path

import msgspec

from madang.bus.subjects import check_name
from madang.core.errors import SettingsError
from madang.wire.busframes import FRAME_BYTES_MAX


class WorkLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of the queue of one subject's jobs."""

    waiting_jobs_max: int = 10_000  # jobs without outcome; then Overloaded
    waiting_bytes_max: int = 64 * 1024 * 1024
    attempts_max: int = 5  # then the job is dead
    retry_ms: int = 100  # rest after a failed attempt; doubles with each
    retry_max_ms: int = 30_000
    settle_ms: int = 300  # a new owner hears from workers this long before it gives out jobs
    submit_timeout_ms: int = 5_000  # how long a submission looks for a queue
    outcomes_max: int = 10_000  # finished jobs remembered, for repeated submissions
    outcome_bytes_max: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            if getattr(self, field) < 1:
                raise SettingsError("bus.work", field, "at least 1")


class BusLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds per link; all ends of a machine should use the same."""

    queued_bytes: int = 16 * 1024 * 1024  # per peer, and for our own subscriptions
    control_bytes: int = (
        4 * 1024 * 1024
    )  # above it: interests and short answers; then the link ends
    open_requests: int = 4096  # per peer and direction
    interests: int = 262_144  # patterns and served subjects a peer may announce
    peers: int = 256
    handshake_timeout_ms: int = 2000
    open_timeout_ms: int = 200  # how long opening waits for peers to answer
    close_timeout_ms: int = 1000
    work: WorkLimits = WorkLimits()

    def __post_init__(self) -> None:
        if self.queued_bytes < 2 * FRAME_BYTES_MAX:
            raise SettingsError("bus", "queued_bytes", f"at least {2 * FRAME_BYTES_MAX}")
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, int) and value < 1:
                raise SettingsError("bus", field, "at least 1")


class BusSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who we are and where the sockets are."""

    name: str
    folder: Path
    limits: BusLimits = BusLimits()

    def __post_init__(self) -> None:
        check_name(self.name)
