"""Who is in the demo, with random secrets made once per state folder.

The file holds secrets in the clear for the traders and the person at the terminal, so only its
owner may read it, and the demo listens on the loopback address alone.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from madang.core.ids import new_request_id
from madang.exchange.bootstrap import PENDING, AccountPlan, TransferPlan, load_plans, save_plans
from madang.exchange.operator import new_api_key, secret_digest
from madang.exchange.sim.crowd import Counts
from madang.wire.codes import CASH_SCALE, PRICE_SCALE, QUANTITY_SCALE

FILE = "demo.json"
VISITOR = "demo"
VISITOR_CASH = 100_000 * CASH_SCALE
TRADER_CASH = 1_000_000_000 * CASH_SCALE
TRADER_SHARES = 1_000_000 * QUANTITY_SCALE

SYMBOLS: dict[str, tuple[str, int]] = {
    "AAPL": ("Apple (simulated)", 227 * PRICE_SCALE),
    "AMZN": ("Amazon (simulated)", 201 * PRICE_SCALE),
    "GOOGL": ("Alphabet (simulated)", 171 * PRICE_SCALE),
    "META": ("Meta Platforms (simulated)", 562 * PRICE_SCALE),
    "MSFT": ("Microsoft (simulated)", 415 * PRICE_SCALE),
    "NFLX": ("Netflix (simulated)", 887 * PRICE_SCALE),
    "NVDA": ("NVIDIA (simulated)", 142 * PRICE_SCALE),
    "TSLA": ("Tesla (simulated)", 339 * PRICE_SCALE),
}
"""Symbol -> (name, first price)."""

TRADERS = Counts(makers=3, noise=3, trend=2)


class Person(msgspec.Struct, frozen=True):
    """One account of the demo, secrets in the clear."""

    plan: AccountPlan
    key_id: str
    secret: str
    password: str = ""


class People(msgspec.Struct, frozen=True):
    """Everybody in the demo."""

    persons: dict[str, Person]
    seed: int


def _hash(password: str) -> str:
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def _person(name: str, cash: int, shares: int, *, password: str = "") -> Person:
    key_id, secret = new_api_key()
    transfers = [TransferPlan(cash, new_request_id().hex())]
    if shares:
        transfers += [TransferPlan(shares, new_request_id().hex(), symbol) for symbol in SYMBOLS]
    plan = AccountPlan(
        name,
        new_request_id().hex(),
        password_hash=_hash(password) if password else "",
        keys={key_id: secret_digest(secret)},
        transfers=tuple(transfers),
    )
    return Person(plan, key_id, secret, password)


def _invent(name: str) -> Person:
    if name == VISITOR:
        return _person(name, VISITOR_CASH, 0, password=secrets.token_urlsafe(9))
    return _person(name, TRADER_CASH, TRADER_SHARES)


def load_or_invent(state_dir: Path) -> People:
    """Read the demo's people; who is missing is made with fresh secrets, and an account planned."""
    path = state_dir / FILE
    known = People({}, seed=secrets.randbits(32))
    if path.exists():
        known = msgspec.json.decode(path.read_bytes(), type=People)
    missing = [name for name in (VISITOR, *TRADERS.names()) if name not in known.persons]
    if not missing:
        return known
    invented = {name: _invent(name) for name in missing}
    people = People({**known.persons, **invented}, known.seed)
    planned = load_plans(state_dir / PENDING)
    save_plans(state_dir / PENDING, planned + [person.plan for person in invented.values()])
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(people)))
    return people
