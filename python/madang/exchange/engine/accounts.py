"""The commands about accounts: create, fund, disable, and the credentials that act for them.

Account 0 takes the fees. It has no owner: it cannot trade or be changed, only its cash can go out.
"""

from __future__ import annotations

from madang.exchange.engine.commands import Command
from madang.exchange.engine.events import Answer
from madang.exchange.engine.lifecycle import cancel_all
from madang.exchange.engine.money import add_shares, remove_shares, valuation_price
from madang.exchange.engine.state import Account, Credential, Instrument, State
from madang.wire.codes import (
    CASH,
    CASH_MAX,
    FEE_ACCOUNT,
    QUANTITY_MAX,
    VALUE_PER_CASH,
    AccountState,
    CloseReason,
    CredentialKind,
    Reason,
)
from madang.wire.commands import TEXT_BYTES_MAX, VALUE_BYTES_MAX

NAME_BYTES_MAX = 64
FEE_ACCOUNT_NAME = b"fees"


def add_account(state: State, name: bytes, created_ns: int) -> Account:
    """Add an account under the next number."""
    account = Account(len(state.accounts), name, created_ns)
    state.accounts.append(account)
    state.account_names.add(name)
    return account


def create_account(state: State, command: Command) -> Answer:
    """Create an account with a name that nobody has."""
    name = command.texts
    if not 1 <= len(name) <= NAME_BYTES_MAX:
        return Answer(Reason.BAD_FIELDS)
    if name in state.account_names:
        return Answer(Reason.DUPLICATE_NAME)
    account = add_account(state, name, state.now_ns)
    state.events.account(account)
    return Answer(Reason.OK, account.number)


def transfer(state: State, command: Command) -> Answer:
    """Move cash or shares into an account (positive) or out of it (negative)."""
    number, (instrument_number, _, amount) = command.account, command.fields
    fees_out = number == FEE_ACCOUNT and instrument_number == CASH and amount < 0
    if not fees_out and state.trading_account(number) is None:
        return Answer(Reason.UNKNOWN_ACCOUNT)
    account = state.accounts[number]
    if instrument_number == CASH:
        return _transfer_cash(state, account, amount)
    instrument = state.instruments.get(instrument_number)
    if instrument is None:
        return Answer(Reason.UNKNOWN_INSTRUMENT)
    return _transfer_shares(state, account, instrument, amount)


def _transfer_cash(state: State, account: Account, amount: int) -> Answer:
    if not 0 < abs(amount) <= CASH_MAX:
        return Answer(Reason.BAD_QUANTITY)
    available = account.cash - account.held
    if available + amount < 0 and amount < 0:
        return Answer(Reason.INSUFFICIENT_CASH, a=available, b=-amount)
    if state.cash_total + amount > CASH_MAX:
        return Answer(Reason.BALANCE_OUT_OF_RANGE)
    account.cash += amount
    state.cash_total += amount
    state.events.transfer(account.number, CASH, amount, account.cash)
    return Answer(Reason.OK, account.number)


def _transfer_shares(state: State, account: Account, instrument: Instrument, amount: int) -> Answer:
    if not 0 < abs(amount) <= QUANTITY_MAX:
        return Answer(Reason.BAD_QUANTITY)
    position = account.positions.get(instrument.number)
    existing, held = (position.quantity, position.held) if position else (0, 0)
    if existing - held + amount < 0:
        return Answer(Reason.INSUFFICIENT_SHARES, a=existing, b=held)
    if instrument.shares_total + amount > QUANTITY_MAX:
        return Answer(Reason.BALANCE_OUT_OF_RANGE)
    instrument.shares_total += amount
    if amount > 0:
        cost = amount * valuation_price(instrument) // VALUE_PER_CASH
        balance = add_shares(account, instrument.number, amount, cost).quantity
    else:
        balance = remove_shares(account, instrument.number, -amount)
    state.events.transfer(account.number, instrument.number, amount, balance)
    return Answer(Reason.OK, account.number)


def set_account(state: State, command: Command) -> Answer:
    """Make an account active, or disable it and cancel its orders."""
    account = state.trading_account(command.account)
    if account is None:
        return Answer(Reason.UNKNOWN_ACCOUNT)
    new_state = command.fields[0]
    if new_state > AccountState.DISABLED:
        return Answer(Reason.BAD_FIELDS)
    account.state = new_state
    if new_state == AccountState.DISABLED:
        cancel_all(state, list(account.orders.values()), CloseReason.ACCOUNT_DISABLED)
    state.events.account(account)
    return Answer(Reason.OK, account.number)


def credential_slot(kind: int, account: int, name: bytes) -> tuple[int, int, bytes]:
    """Return what a credential is unique by: roles within their account, the others everywhere."""
    return kind, account if kind == CredentialKind.ROLE else 0, name


def set_credential(state: State, command: Command) -> Answer:
    """Set a credential of an account; an empty value removes it."""
    kind, name_length, value_length, _ = command.fields
    good = (
        CredentialKind.API_KEY <= kind <= CredentialKind.ROLE
        and 1 <= name_length <= TEXT_BYTES_MAX
        and value_length <= VALUE_BYTES_MAX
    )
    if not good:
        return Answer(Reason.BAD_FIELDS)
    if state.trading_account(command.account) is None:
        return Answer(Reason.UNKNOWN_ACCOUNT)
    name, value = command.texts[:name_length], command.texts[name_length:]
    slot = credential_slot(kind, command.account, name)
    credential = state.credential_index.get(slot)
    if credential is None:
        if not value:
            return Answer(Reason.BAD_FIELDS)
        credential = Credential(state.next_credential, command.account, kind, name, value)
        state.next_credential += 1
        state.credentials[credential.number] = credential
        state.credential_index[slot] = credential
    elif credential.account != command.account:
        return Answer(Reason.DUPLICATE_NAME)
    credential.value = value
    if not value:
        del state.credentials[credential.number]
        del state.credential_index[slot]
    state.events.credential(credential)
    return Answer(Reason.OK, credential.number)
