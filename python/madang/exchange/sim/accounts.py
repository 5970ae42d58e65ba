"""Accounts for simulated traders on a venue whose operator one is: opened, funded, remembered.

Their keys lie in a file of the state folder that only its owner reads, so that the next run has the
same accounts. Whoever has become poor is given more.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from madang.bus import Bus
from madang.exchange.operator import (
    Listing,
    Operator,
    new_api_key,
    read_directory,
    secret_digest,
)
from madang.exchange.sim.rest import Key
from madang.wire.codes import CASH_SCALE, QUANTITY_SCALE, CredentialKind
from madang.wire.records import parse_position

FILE = "sim.json"
PREFIX = "sim-"
CASH = 1_000_000_000 * CASH_SCALE
SHARES = 1_000_000 * QUANTITY_SCALE
QUERY_TIMEOUT_MS = 5_000


class _Known(msgspec.Struct, frozen=True):
    keys: dict[str, Key] = {}


def _load(path: Path) -> dict[str, Key]:
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=_Known).keys


def _save(path: Path, keys: dict[str, Key]) -> None:
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(_Known(keys)))


async def open_accounts(
    bus: Bus, operator: Operator, state_dir: Path, names: list[str], symbols: list[str]
) -> list[Key]:
    """Return a key for each name; raises RefusedError, BusError, KeyError for a wrong symbol."""
    listing = await read_directory(bus)
    path = state_dir / FILE
    keys = _load(path)
    for name in names:
        keys.setdefault(name, Key(*new_api_key()))
    _save(path, keys)
    for name in names:
        account = await _open(operator, listing, PREFIX + name, keys[name])
        for instrument, amount in (await _lacking(bus, account, listing, symbols)).items():
            await operator.transfer(account, amount, instrument)
    return [keys[name] for name in names]


async def _open(operator: Operator, listing: Listing, name: str, key: Key) -> int:
    known = listing.accounts.get(name)
    account = known.number if known else await operator.create_account(name)
    await operator.set_credential(account, CredentialKind.ROLE, "role", "trader")
    await operator.set_credential(
        account, CredentialKind.API_KEY, key.key_id, secret_digest(key.secret)
    )
    return account


async def _lacking(bus: Bus, account: int, listing: Listing, symbols: list[str]) -> dict[int, int]:
    """Return what to give, by instrument (0: cash), to who has less than half of what it should."""
    question = msgspec.msgpack.encode({"kind": "account", "account": account})
    answer = msgspec.msgpack.decode(await bus.request("ledger.query", question, QUERY_TIMEOUT_MS))
    has = {p.instrument: p.quantity for p in (parse_position(b, 0) for b in answer["positions"])}
    cash = next((one.cash for one in listing.accounts.values() if one.number == account), 0)
    wanted = {0: (cash, CASH)}
    for symbol in symbols:
        number = listing.instruments[symbol].number
        wanted[number] = (has.get(number, 0), SHARES)
    return {number: full - now for number, (now, full) in wanted.items() if now < full // 2}
