"""The commands about the whole market: instruments, sessions, fees, limits, the end of a day."""

from __future__ import annotations

from madang.exchange.engine.commands import Command
from madang.exchange.engine.events import Answer
from madang.exchange.engine.lifecycle import announce, end, open_status, take_out
from madang.exchange.engine.matching import submit
from madang.exchange.engine.state import (
    KEY_SESSIONS_KEPT,
    RULES_VERSION,
    Instrument,
    Key,
    State,
)
from madang.wire.codes import (
    FEE_PPM_MAX,
    PRICE_MAX,
    QUANTITY_MAX,
    CloseReason,
    OrderEvent,
    Reason,
    Session,
    Status,
    TimeInForce,
)

SYMBOL_BYTES_MAX = 16
EXCHANGE_BYTES_MAX = 8
NAME_BYTES_MAX = 64
COLLAR_BPS_MAX = 10_000
KEYS_MAX_BOUND = 10_000_000
OPEN_ORDERS_MAX_BOUND = 1_000_000


def set_instrument(state: State, command: Command) -> Answer:
    """Create an instrument, or change what its symbol has."""
    tick, lot, reference, collar, symbol_end, exchange_length, name_length, _ = command.fields
    good = (
        1 <= tick <= PRICE_MAX
        and 1 <= lot <= QUANTITY_MAX
        and 0 <= reference <= PRICE_MAX
        and 1 <= collar <= COLLAR_BPS_MAX
        and 1 <= symbol_end <= SYMBOL_BYTES_MAX
        and 1 <= exchange_length <= EXCHANGE_BYTES_MAX
        and name_length <= NAME_BYTES_MAX
    )
    if not good:
        return Answer(Reason.BAD_FIELDS)
    exchange_end = symbol_end + exchange_length
    symbol = command.texts[:symbol_end]
    exchange, name = command.texts[symbol_end:exchange_end], command.texts[exchange_end:]
    instrument = state.symbols.get(symbol)
    if instrument is None:
        number = len(state.instruments) + 1
        instrument = Instrument(number, symbol, exchange, name, tick, lot, reference, collar)
        state.instruments[number] = instrument
        state.symbols[symbol] = instrument
    else:
        instrument.exchange, instrument.name = exchange, name
        instrument.tick, instrument.lot = tick, lot
        instrument.reference_price, instrument.collar_bps = reference, collar
    state.events.instrument(instrument)
    return Answer(Reason.OK, instrument.number)


def set_session(state: State, command: Command) -> Answer:
    """Open, halt or close one instrument or the market; what opens releases its queue."""
    number, new_state, _, _ = command.fields
    if new_state > Session.CLOSED:
        return Answer(Reason.BAD_FIELDS)
    if number and number not in state.instruments:
        return Answer(Reason.UNKNOWN_INSTRUMENT)
    closed = [
        instrument
        for instrument in state.instruments.values()
        if state.effective_session(instrument) != Session.OPEN
    ]
    if number:
        state.instruments[number].session = new_state
    else:
        state.market_session = new_state
    state.events.session(number, new_state)
    for instrument in closed:
        if state.effective_session(instrument) == Session.OPEN:
            _release_queue(state, instrument)
    return Answer(Reason.OK, number)


def _release_queue(state: State, instrument: Instrument) -> None:
    """Let the orders that waited for the opening act, first come first."""
    for order in list(instrument.queue.values()):
        take_out(instrument, order)
        order.status = open_status(order)
        announce(state, order, OrderEvent.NEW)
        submit(state, order)


def set_fees(state: State, command: Command) -> Answer:
    """Set the fees of orders that come later."""
    maker_ppm, taker_ppm = command.fields
    if max(maker_ppm, taker_ppm) > FEE_PPM_MAX:
        return Answer(Reason.BAD_FIELDS)
    state.maker_ppm, state.taker_ppm = maker_ppm, taker_ppm
    state.events.fees(maker_ppm, taker_ppm)
    return Answer(Reason.OK)


def set_limits(state: State, command: Command) -> Answer:
    """Set how many keys are kept and how many orders an account may have open."""
    keys_max, open_orders_max = command.fields
    good = 1 <= keys_max <= KEYS_MAX_BOUND and 1 <= open_orders_max <= OPEN_ORDERS_MAX_BOUND
    if not good:
        return Answer(Reason.BAD_FIELDS)
    state.keys_max, state.open_orders_max = keys_max, open_orders_max
    return Answer(Reason.OK)


def set_rules(state: State, command: Command) -> Answer:
    """Choose the version of the rules; there is one."""
    if command.fields[0] != RULES_VERSION:
        return Answer(Reason.UNKNOWN_RULES)
    state.rules_version = RULES_VERSION
    return Answer(Reason.OK)


def end_day(state: State, _command: Command) -> Answer:
    """Expire day orders, begin the next session, forget keys and outcomes that are too old."""
    for order_id in sorted(state.orders):
        order = state.orders[order_id]
        if order.time_in_force == TimeInForce.DAY:
            end(state, order, Status.EXPIRED, CloseReason.END_OF_DAY)
            announce(state, order, OrderEvent.EXPIRED)
    state.session_number += 1
    state.events.day(state.session_number)
    _forget_old(state, state.session_number - KEY_SESSIONS_KEPT)
    return Answer(Reason.OK)


def _forget_old(state: State, last_session: int) -> None:
    """Drop what was recorded up to a session; keys of live orders are taken into the new one."""
    old_keys = []
    for name, key in state.keys.items():
        if key.session > last_session:
            break
        old_keys.append((name, key))
    for name, key in old_keys:
        del state.keys[name]
        if key.order_id in state.orders:
            state.keys[name] = Key(key.order_id, state.session_number)
    old_outcomes = []
    for request_id, outcome in state.outcomes.items():
        if outcome.session > last_session:
            break
        old_outcomes.append(request_id)
    for request_id in old_outcomes:
        del state.outcomes[request_id]


def expire_keys(state: State, command: Command) -> Answer:
    """Drop the oldest keys and outcomes until `keep` of each are left; live orders keep theirs."""
    keep = command.fields[0]
    excess = len(state.keys) - keep
    for name, key in list(state.keys.items()):
        if excess <= 0:
            break
        if key.order_id not in state.orders:
            del state.keys[name]
            excess -= 1
    for request_id in list(state.outcomes)[: max(len(state.outcomes) - keep, 0)]:
        del state.outcomes[request_id]
    return Answer(Reason.OK, a=len(state.keys), b=len(state.outcomes))
