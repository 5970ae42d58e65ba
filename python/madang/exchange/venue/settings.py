"""The `[venue]` table: what is traded, at which fees, when, and the bounds of the venue."""

from __future__ import annotations

import datetime
from decimal import Decimal, InvalidOperation
from typing import Literal

import msgspec

from madang.core.errors import SettingsError
from madang.exchange.listing import EXCHANGE_RULE, SYMBOL_RULE, is_exchange, is_symbol
from madang.exchange.venue.log import LogSettings
from madang.exchange.venue.schedule import OpenHours, zone_of
from madang.exchange.venue.sequencer import SequencerSettings
from madang.wire.codes import FEE_PPM_MAX, PRICE_MAX, PRICE_SCALE, QUANTITY_MAX, QUANTITY_SCALE
from madang.wire.commands import InstrumentTerms

NAME_BYTES_MAX = 64
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class InstrumentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One instrument; amounts are decimal text."""

    symbol: str
    name: str = ""
    tick: str = "0.01"
    lot: str = "0.000000001"
    exchange: str = "NASDAQ"
    reference_price: str = "0"

    def terms(self, collar_bps: int) -> InstrumentTerms:
        """Return the instrument's rules in units; raises SettingsError."""
        key = f"instruments.{self.symbol}"
        if not is_symbol(self.symbol):
            raise SettingsError("venue", f"{key}.symbol", SYMBOL_RULE)
        if not is_exchange(self.exchange):
            raise SettingsError("venue", f"{key}.exchange", EXCHANGE_RULE)
        if len(self.name.encode()) > NAME_BYTES_MAX:
            raise SettingsError("venue", f"{key}.name", f"at most {NAME_BYTES_MAX} bytes")
        return InstrumentTerms(
            self.symbol.encode(),
            name=self.name.encode(),
            exchange=self.exchange.encode(),
            tick=decimal_units(self.tick, PRICE_SCALE, 1, PRICE_MAX, f"{key}.tick"),
            lot=decimal_units(self.lot, QUANTITY_SCALE, 1, QUANTITY_MAX, f"{key}.lot"),
            reference_price=decimal_units(
                self.reference_price, PRICE_SCALE, 0, PRICE_MAX, f"{key}.reference_price"
            ),
            collar_bps=collar_bps,
        )


class FeeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parts per million of a fill's value."""

    maker_ppm: int = 0
    taker_ppm: int = 0


class HoursSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Trading hours of the market on some days, in the venue's time zone."""

    days: tuple[str, ...]
    open: datetime.time
    close: datetime.time


class VenueSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the venue's process is told."""

    instruments: tuple[InstrumentSettings, ...] = ()
    fees: FeeSettings = FeeSettings()
    hours: tuple[HoursSettings, ...] = ()
    """Empty: always open."""
    timezone: str = "UTC"
    collar_percent: str = "5"
    self_trade_prevention: Literal[
        "cancel_newest", "cancel_oldest", "cancel_both", "decrement", "refuse"
    ] = "cancel_newest"
    """What an order gets that does not say."""
    engine: Literal["auto", "rust", "python"] = "auto"
    keys_max: int = 10_000_000
    open_orders_max: int = 100_000
    retain: int = 2
    """How many snapshots keep the log that follows them; 0 keeps all of it."""
    retain_interval_ms: int = 10_000
    log: LogSettings = LogSettings()
    sequencer: SequencerSettings = SequencerSettings()

    def __post_init__(self) -> None:
        if self.sequencer.batch_bytes_max > self.log.batch_bytes_max:
            raise SettingsError(
                "venue", "sequencer.batch_bytes_max", f"at most {self.log.batch_bytes_max}"
            )
        for key, value in (("maker_ppm", self.fees.maker_ppm), ("taker_ppm", self.fees.taker_ppm)):
            if not 0 <= value <= FEE_PPM_MAX:
                raise SettingsError("venue", f"fees.{key}", f"0 to {FEE_PPM_MAX}")
        if not 1 <= self.keys_max <= 10_000_000:
            raise SettingsError("venue", "keys_max", "1 to 10,000,000")
        if not 1 <= self.open_orders_max <= 1_000_000:
            raise SettingsError("venue", "open_orders_max", "1 to 1,000,000")
        if self.retain < 0:
            raise SettingsError("venue", "retain", "0 (all) or the number of snapshots")
        if len({instrument.symbol for instrument in self.instruments}) != len(self.instruments):
            raise SettingsError("venue", "instruments", "each symbol once")
        zone_of(self.timezone)
        self.instrument_terms()
        self.open_hours()

    def instrument_terms(self) -> list[InstrumentTerms]:
        """Return the rules of all instruments; raises SettingsError."""
        collar = decimal_units(self.collar_percent, 100, 1, 10_000, "collar_percent")
        return [instrument.terms(collar) for instrument in self.instruments]

    def open_hours(self) -> tuple[OpenHours, ...]:
        """Return the trading hours by weekday; raises SettingsError."""
        return open_hours(self.hours)


def open_hours(settings: tuple[HoursSettings, ...]) -> tuple[OpenHours, ...]:
    """Return trading hours by weekday; raises SettingsError."""
    found = []
    for hours in settings:
        if not hours.days or not set(hours.days) <= set(_DAYS):
            raise SettingsError("venue", "hours.days", "some of " + ", ".join(_DAYS))
        if not hours.open < hours.close or hours.open.tzinfo or hours.close.tzinfo:
            raise SettingsError("venue", "hours", "open before close, without a zone")
        weekdays = frozenset(_DAYS.index(day) for day in hours.days)
        found.append(OpenHours(weekdays, hours.open, hours.close))
    return tuple(found)


def decimal_units(text: str, scale: int, least: int, most: int, key: str) -> int:
    """Return decimal text in units of 1/scale; raises SettingsError where that is not exact."""
    try:
        value = Decimal(text) * scale
        units = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        raise SettingsError("venue", key, f"a decimal number, not {text!r}") from None
    if units != value or not least <= units <= most:
        raise SettingsError(
            "venue", key, f"a multiple of 1/{scale} from {least}/{scale} to {most}/{scale}"
        )
    return units
