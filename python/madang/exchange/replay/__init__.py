"""Replaying recorded order flow. Pure: no file, clock or network is touched here."""

from __future__ import annotations

from madang.exchange.replay.bitstamp import BitstampEvent, BitstampReplay, Found, read_bitstamp
from madang.exchange.replay.client import ReplayAccounts, Reply, Steps, drive, set_up
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
    "BitstampEvent",
    "BitstampReplay",
    "Executions",
    "Found",
    "Level",
    "LobsterMessage",
    "LobsterReplay",
    "LobsterRow",
    "ReplayAccounts",
    "Reply",
    "Steps",
    "drive",
    "read_bitstamp",
    "read_lobster_messages",
    "read_lobster_rows",
    "set_up",
]
