"""What a worker knows of instruments, accounts and credentials, so that it can authenticate alone.

`Directory` is the pure table; `DirectoryReplica` keeps it equal to the venue's. Invariant: a record
that the venue published before answering a page is in the table once the load is over, and whatever
may have been missed (a reported gap, a venue that came back) leads to a complete reload. While the
venue is away the table stands as it is.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from madang.bus import Bus, BusError, Gap, Message
from madang.core import ids, log
from madang.exchange.settling import Settling
from madang.exchange.subjects import (
    COMMITTED,
    COMMITTED_TIMEOUT_MS,
    DIRECTORY,
    DIRECTORY_CHANGED,
)
from madang.wire import records
from madang.wire.codes import AccountState, CredentialKind
from madang.wire.events import RECORD_HEADER_BYTES, EventKind, split_records
from madang.wire.records import (
    Credential,
    parse_account,
    parse_credential,
    parse_instrument,
)

PAGE: Final = struct.Struct("<IIII")
PAGE_RECORDS: Final = 1_000
PAGE_TIMEOUT_MS: Final = 2_000
RETRY_S: Final = 0.1
COPY: Final = "directory"
"""Its name in `settling`."""
CHANGES_HELD_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument; `tick` and `reference_price` in price units, `lot` in quantity units."""

    number: int
    symbol: str
    exchange: str
    name: str
    tick: int
    lot: int
    reference_price: int
    asset_id: str


@dataclass(frozen=True, slots=True)
class Account:
    """One account; `active` is False once it is disabled."""

    number: int
    name: str
    active: bool


class Numbers(NamedTuple):
    """The highest numbers of each kind of record seen."""

    instrument: int
    account: int
    credential: int


class Directory:
    """Instruments, accounts and credentials by what they are looked up with."""

    def __init__(self) -> None:
        self.instruments: dict[int, Instrument] = {}
        self.accounts: dict[int, Account] = {}
        self._by_name: dict[str, Instrument] = {}
        self._credentials: dict[int, Credential] = {}
        self._by_kind: dict[int, dict[str | int, Credential]] = {
            kind: {} for kind in CredentialKind
        }
        self._signed_in_by: dict[int, dict[str, Credential]] = {}

    def instrument(self, symbol_or_id: str) -> Instrument | None:
        """Return an instrument by its symbol or asset id."""
        return self._by_name.get(symbol_or_id)

    def api_key(self, key_id: str) -> Credential | None:
        """Return an API key; its value is the SHA-256 of the secret in hex."""
        return self._by_kind[CredentialKind.API_KEY].get(key_id)

    def api_keys(self, account: int) -> list[str]:
        """Return the key ids of an account, oldest first."""
        found = [
            key for key in self._by_kind[CredentialKind.API_KEY].values() if key.account == account
        ]
        return [key.name for key in sorted(found)]

    def password(self, name: str) -> Credential | None:
        """Return a sign-in by its name; its value is Argon2id text."""
        return self._by_kind[CredentialKind.PASSWORD].get(name)

    def passwords(self, account: int) -> Iterable[Credential]:
        """Return the sign-ins of an account."""
        return self._signed_in_by.get(account, {}).values()

    def role(self, account: int) -> str | None:
        """Return the role an account was given."""
        found = self._by_kind[CredentialKind.ROLE].get(account)
        return None if found is None else found.value

    def apply(self, data: bytes) -> Numbers:
        """Take INSTRUMENT, ACCOUNT and CREDENTIAL records; return their highest numbers."""
        last = {EventKind.INSTRUMENT: 0, EventKind.ACCOUNT: 0, EventKind.CREDENTIAL: 0}
        for kind, offset, _ in split_records(data):
            at = offset + RECORD_HEADER_BYTES
            if kind == EventKind.INSTRUMENT:
                number = self._take_instrument(parse_instrument(data, at))
            elif kind == EventKind.ACCOUNT:
                number = self._take_account(parse_account(data, at))
            elif kind == EventKind.CREDENTIAL:
                number = self._take_credential(parse_credential(data, at))
            else:
                continue
            last[EventKind(kind)] = max(last[EventKind(kind)], number)
        return Numbers(*last.values())

    def _take_instrument(self, record: records.Instrument) -> int:
        asset_id = ids.to_uuid(ids.Kind.ASSET, record.number)
        found = Instrument(
            record.number, record.symbol, record.exchange, record.name, record.tick, record.lot,
            record.reference_price, asset_id,
        )  # fmt: skip
        self.instruments[found.number] = found
        self._by_name[found.symbol] = self._by_name[asset_id] = found
        return found.number

    def _take_account(self, record: records.Account) -> int:
        active = record.state == AccountState.ACTIVE
        self.accounts[record.number] = Account(record.number, record.name, active)
        return record.number

    def _take_credential(self, credential: Credential) -> int:
        former = self._credentials.pop(credential.number, None)
        if former is not None:
            self._by_kind[former.kind].pop(_key(former), None)
            self._signed_in_by.get(former.account, {}).pop(former.name, None)
        if not credential.value:
            return credential.number
        self._credentials[credential.number] = credential
        self._by_kind[credential.kind][_key(credential)] = credential
        if credential.kind == CredentialKind.PASSWORD:
            self._signed_in_by.setdefault(credential.account, {})[credential.name] = credential
        return credential.number


def _key(credential: Credential) -> str | int:
    return credential.account if credential.kind == CredentialKind.ROLE else credential.name


class DirectoryReplica:
    """Keeps a Directory equal to the venue's over the bus."""

    def __init__(self, bus: Bus) -> None:
        self.directory = Directory()
        self.loads = 0
        self._bus = bus
        self._held: list[bytes] | None = None
        self._listeners: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._loaded = asyncio.Event()
        self._settling: Settling | None = None
        self._subscription = bus.subscribe(DIRECTORY_CHANGED, self._on_changed, self._on_gap)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change of the table."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Return when the table was loaded once; waits for the venue as long as that takes."""
        self._reload()
        await self._loaded.wait()
        self._settling = Settling(self._bus, COPY, self._caught_up)

    async def close(self) -> None:
        """Stop following."""
        self._subscription.close()
        if self._settling is not None:
            await self._settling.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_changed(self, messages: list[Message]) -> None:
        for message in messages:
            self.directory.apply(message.payload)
            if self._held is None:
                continue
            if len(self._held) < CHANGES_HELD_MAX:
                self._held.append(message.payload)
            else:
                self._again = True
        self._tell()

    def _on_gap(self, _gap: Gap) -> None:
        self._reload()

    async def _caught_up(self) -> None:
        """Return once the table is what the venue's was, an open reload included."""
        await self._bus.request(COMMITTED, b"", COMMITTED_TIMEOUT_MS)
        if self._task is not None:
            await asyncio.wait([self._task])

    def _reload(self) -> None:
        if self._task is not None and not self._task.done():
            self._again = True
            return
        self._held = []
        self._task = asyncio.create_task(self._load_until_done())

    async def _load_until_done(self) -> None:
        logger = log.get("directory")
        while True:
            self._again = False
            self._held = []
            try:
                fresh = await self._load()
            except BusError as error:
                logger.warning("directory not loaded, trying again", error=error.message)
                await self._bus.wait_for_server(DIRECTORY, PAGE_TIMEOUT_MS)
                await asyncio.sleep(RETRY_S)
                continue
            if not self._again:
                break
        for held in self._held:
            fresh.apply(held)
        self._held = None
        self.directory = fresh
        self.loads += 1
        self._loaded.set()
        self._tell()

    async def _load(self) -> Directory:
        fresh = Directory()
        seen = Numbers(0, 0, 0)
        while True:
            page = PAGE.pack(seen.account, seen.credential, seen.instrument, PAGE_RECORDS)
            answer = await self._bus.request(DIRECTORY, page, PAGE_TIMEOUT_MS)
            last = fresh.apply(answer)
            if all(new <= old for new, old in zip(last, seen, strict=True)):
                return fresh
            seen = Numbers(*map(max, last, seen))

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
