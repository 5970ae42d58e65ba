"""The settings as log commands: what the engine lacks or has differently, at every start."""

from __future__ import annotations

from madang.exchange.engine.port import Engine
from madang.exchange.venue.settings import VenueSettings
from madang.wire.commands import (
    NO_REQUEST,
    InstrumentTerms,
    encode_set_fees,
    encode_set_instrument,
    encode_set_limits,
)
from madang.wire.events import INSTRUMENT_BODY, RECORD_HEADER_BYTES, split_records

_Rules = tuple[bytes, bytes, int, int, int]


def setup_commands(settings: VenueSettings, engine: Engine) -> bytes:
    """Return the commands that bring the engine's rules to what the settings say.

    Fees and limits cannot be asked of an engine, so they are always said; saying them again changes
    nothing. An instrument's reference price only counts when it is new: later the market knows
    better.
    """
    existing = _instruments(engine)
    commands = [
        encode_set_fees(NO_REQUEST, settings.fees.maker_ppm, settings.fees.taker_ppm),
        encode_set_limits(NO_REQUEST, settings.keys_max, settings.open_orders_max),
    ]
    for terms in settings.instrument_terms():
        known = existing.get(terms.symbol)
        if known is None:
            commands.append(encode_set_instrument(NO_REQUEST, terms))
        elif known[0] != _rules(terms):
            terms.reference_price = known[1]
            commands.append(encode_set_instrument(NO_REQUEST, terms))
    return b"".join(commands)


def _rules(terms: InstrumentTerms) -> _Rules:
    return terms.name, terms.exchange, terms.tick, terms.lot, terms.collar_bps


def _instruments(engine: Engine) -> dict[bytes, tuple[_Rules, int]]:
    """Return (rules, reference price) by symbol."""
    data = engine.instruments()
    found: dict[bytes, tuple[_Rules, int]] = {}
    for _, offset, _ in split_records(data):
        body = offset + RECORD_HEADER_BYTES
        fields = INSTRUMENT_BODY.unpack_from(data, body)
        _, _, symbol_length, exchange_length, name_length, tick, lot, reference, _, _, _, collar = (
            fields
        )
        start = body + INSTRUMENT_BODY.size
        symbol = data[start : start + symbol_length]
        start += symbol_length
        exchange = data[start : start + exchange_length]
        start += exchange_length
        name = data[start : start + name_length]
        found[symbol] = (name, exchange, tick, lot, collar), reference
    return found
