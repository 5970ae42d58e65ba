"""What an operator asks of the venue. Every call is one command in the log.

A caller that may be interrupted passes its own `request_id`; asking again with it changes nothing
and returns the first outcome.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol

from madang.bus import Bus
from madang.core.errors import MadangError
from madang.core.ids import new_request_id
from madang.exchange.listing import EXCHANGE_RULE, SYMBOL_RULE, is_exchange, is_symbol
from madang.exchange.reasons import TEXTS
from madang.wire import commands
from madang.wire.codes import CASH, AccountState, CredentialKind, Reason
from madang.wire.events import RECORD_HEADER_BYTES, EventKind, Result, split_records
from madang.wire.records import (
    Account,
    Credential,
    Instrument,
    parse_account,
    parse_credential,
    parse_instrument,
)

DIRECTORY_TIMEOUT_MS = 5_000
DIRECTORY_PAGE = 500
KEY_ID_BYTES = 10
SECRET_BYTES = 32
_PAGE = struct.Struct("<IIII")


class RefusedError(MadangError):
    """The venue said no; `reason` is a Reason."""

    def __init__(self, what: str, result: Result) -> None:
        text = TEXTS.get(result.reason, "refused")
        super().__init__(f"{what}: {text}", reason=Reason(result.reason), a=result.a, b=result.b)


class ListingError(MadangError):
    """An instrument cannot be called so, or not be listed there."""


class Listing(NamedTuple):
    """Everything the venue's directory holds."""

    instruments: dict[str, Instrument]
    accounts: dict[str, Account]
    credentials: list[Credential]


async def read_directory(bus: Bus) -> Listing:
    """Ask the venue for all instruments, accounts and credentials, page by page."""
    listing = Listing({}, {}, [])
    after = {EventKind.ACCOUNT: 0, EventKind.CREDENTIAL: 0, EventKind.INSTRUMENT: 0}
    while True:
        question = _PAGE.pack(*after.values(), DIRECTORY_PAGE)
        page = await bus.request("venue.directory", question, DIRECTORY_TIMEOUT_MS)
        seen = dict(after)
        for kind, at, _ in split_records(page):
            number = _add_record(listing, kind, page, at + RECORD_HEADER_BYTES)
            after[EventKind(kind)] = max(after[EventKind(kind)], number)
        if after == seen:
            return listing


def _add_record(listing: Listing, kind: int, page: bytes, body: int) -> int:
    if kind == EventKind.INSTRUMENT:
        instrument = parse_instrument(page, body)
        listing.instruments[instrument.symbol] = instrument
        return instrument.number
    if kind == EventKind.ACCOUNT:
        account = parse_account(page, body)
        listing.accounts[account.name] = account
        return account.number
    credential = parse_credential(page, body)
    listing.credentials.append(credential)
    return credential.number


def new_api_key() -> tuple[str, str]:
    """Return a fresh (key id, secret)."""
    return "PK" + secrets.token_hex(KEY_ID_BYTES).upper(), secrets.token_urlsafe(SECRET_BYTES)


def secret_digest(secret: str) -> str:
    """Return what is stored of an API secret: it has 256 random bits, so one SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Venue(Protocol):
    """A way to the venue, such as an `OrderGateway`."""

    async def submit(self, command: bytes) -> Result:
        """Have one command done and return its outcome."""
        ...


class Operator:
    """Sends the operator's commands; raises RefusedError where the venue says no."""

    def __init__(self, gateway: Venue, new_id: Callable[[], bytes] = new_request_id) -> None:
        self._gateway = gateway
        self._new_id = new_id

    async def _submit(self, what: str, command: bytes) -> Result:
        result = await self._gateway.submit(command)
        if result.reason != Reason.OK:
            raise RefusedError(what, result)
        return result

    async def create_account(self, name: str, request_id: bytes | None = None) -> int:
        """Create an account and return its number."""
        command = commands.encode_create_account(request_id or self._new_id(), name.encode())
        return (await self._submit(f"account {name}", command)).number

    async def transfer(
        self, account: int, amount: int, instrument: int = CASH, request_id: bytes | None = None
    ) -> None:
        """Move cash (or shares of an instrument) in, or out where `amount` is negative."""
        command = commands.encode_transfer(
            account, request_id or self._new_id(), instrument, amount
        )
        await self._submit("transfer", command)

    async def set_account_state(self, account: int, state: AccountState) -> None:
        """Disable an account (its orders are canceled) or enable it."""
        command = commands.encode_set_account(account, self._new_id(), state)
        await self._submit("account", command)

    async def set_credential(
        self,
        account: int,
        kind: CredentialKind,
        name: str,
        value: str,
        request_id: bytes | None = None,
    ) -> None:
        """Set a credential; an empty value removes it."""
        command = commands.encode_set_credential(
            account, request_id or self._new_id(), kind, name.encode(), value.encode()
        )
        await self._submit(f"{kind.name.lower()} {name}", command)

    async def add_key(self, account: int) -> tuple[str, str]:
        """Make an API key and return (key id, secret); the secret cannot be read again."""
        key_id, secret = new_api_key()
        await self.set_credential(account, CredentialKind.API_KEY, key_id, secret_digest(secret))
        return key_id, secret

    async def set_instrument(self, terms: commands.InstrumentTerms) -> int:
        """Create or change an instrument and return its number; raises ListingError."""
        symbol, exchange = terms.symbol.decode(), terms.exchange.decode()
        if not is_symbol(symbol):
            raise ListingError(f"symbol {symbol!r}: expected {SYMBOL_RULE}", symbol=symbol)
        if not is_exchange(exchange):
            raise ListingError(f"exchange {exchange!r}: expected {EXCHANGE_RULE}", symbol=symbol)
        command = commands.encode_set_instrument(self._new_id(), terms)
        return (await self._submit(f"instrument {terms.symbol.decode()}", command)).number

    async def set_session(self, instrument: int, state: int) -> None:
        """Open, halt or close an instrument, or the market (instrument 0)."""
        command = commands.encode_set_session(self._new_id(), instrument, state)
        await self._submit("session", command)
