"""Replaying recorded order flow. Pure: no file, clock or network is touched here."""

from __future__ import annotations

from madang.exchange.replay.bitstamp import (
    Action,
    BitstampEvent,
    BitstampReplay,
    Found,
    read_bitstamp,
)
from madang.exchange.replay.client import ReplayAccounts, Reply, Steps, drive, set_up
from madang.exchange.replay.files import ReplayFileError
from madang.exchange.replay.lobster import (
    Executions,
    Level,
    LobsterMessage,
    LobsterReplay,
    LobsterRow,
    read_lobster_messages,
    read_lobster_rows,
)

__all__ = [
    "Action",
    "BitstampEvent",
    "BitstampReplay",
    "Executions",
    "Found",
    "Level",
    "LobsterMessage",
    "LobsterReplay",
    "LobsterRow",
    "ReplayAccounts",
    "ReplayFileError",
    "Reply",
    "Steps",
    "drive",
    "read_bitstamp",
    "read_lobster_messages",
    "read_lobster_rows",
    "set_up",
]
