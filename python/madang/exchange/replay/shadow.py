"""What a venue will answer, known before it does: an engine that nobody but one replay speaks to.

While a symbol's book holds only the replay's own orders, the venue's engine and a fresh one that is
given the same commands do the same. So the next step of a replay need not wait for an answer.
"""

from __future__ import annotations

import struct

from madang.exchange import engine as engines
from madang.exchange.replay.client import ReplayAccounts, Reply, apply_one, drive, set_up
from madang.wire.commands import HEADER_BYTES, CommandKind, InstrumentTerms
from madang.wire.records import Instrument

KIND_AT, ACCOUNT_AT, BODY_AT = 2, 4, HEADER_BYTES
_U32 = struct.Struct("<I")


class Shadow:
    """Takes commands for the venue's accounts and instrument; its order ids are its own."""

    def __init__(self, accounts: ReplayAccounts, instrument: Instrument) -> None:
        """Begin with an empty book at the instrument's last price."""
        self._engine = engines.create()
        terms = InstrumentTerms(
            instrument.symbol.encode(),
            tick=instrument.tick,
            lot=instrument.lot,
            reference_price=instrument.last_price or instrument.reference_price,
            collar_bps=instrument.collar_bps,
        )
        own = drive(self._engine, set_up(terms, len(accounts.buyers)))
        self._instrument = _U32.pack(own.instrument)
        self._accounts = {
            _U32.pack(theirs): _U32.pack(mine)
            for theirs, mine in zip(accounts.numbers(), own.numbers(), strict=True)
        }

    def apply(self, command: bytes) -> Reply:
        """Return what comes of a command that names orders by the ids of earlier replies."""
        account = self._accounts[command[ACCOUNT_AT : ACCOUNT_AT + _U32.size]]
        own = bytearray(command)
        own[ACCOUNT_AT : ACCOUNT_AT + _U32.size] = account
        if command[KIND_AT] == CommandKind.NEW_ORDER:
            own[BODY_AT : BODY_AT + _U32.size] = self._instrument
        return apply_one(self._engine, bytes(own))
