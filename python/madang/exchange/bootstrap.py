"""Accounts that must exist before anybody signs in: the first administrator, the demo's people.

`AccountPlan`s lie in a file of the state folder until they are done. Doing them again after an
interruption changes nothing: accounts are found by name and transfers carry their own request ids.
Passwords and secrets stand in a plan only as hashes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from madang.exchange.operator import Listing, Operator
from madang.wire.codes import CASH, CredentialKind

PENDING = "pending-accounts.json"


class TransferPlan(msgspec.Struct, frozen=True):
    """One deposit: `symbol` empty is cash; `amount` in units; `request_id` in hex."""

    amount: int
    request_id: str
    symbol: str = ""


class AccountPlan(msgspec.Struct, frozen=True):
    """An account to be: `login` with an Argon2id `password_hash`, API keys by id and digest."""

    name: str
    request_id: str
    role: str = "trader"
    password_hash: str = ""
    keys: dict[str, str] = {}
    transfers: tuple[TransferPlan, ...] = ()


def save_plans(path: Path, plans: list[AccountPlan]) -> None:
    """Write plans to a file that only its owner reads."""
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(plans))


def load_plans(path: Path) -> list[AccountPlan]:
    """Read plans; none where there is no such file."""
    if not path.exists():
        return []
    return msgspec.json.decode(path.read_bytes(), type=list[AccountPlan])


def is_pending(state_dir: Path) -> bool:
    """Tell whether plans wait in the state folder."""
    return (state_dir / PENDING).exists()


async def carry_out(operator: Operator, listing: Listing, plans: list[AccountPlan]) -> None:
    """Bring the venue to what the plans say."""
    for plan in plans:
        known = listing.accounts.get(plan.name)
        account = (
            known.number
            if known
            else await operator.create_account(plan.name, bytes.fromhex(plan.request_id))
        )
        if plan.password_hash:
            await operator.set_credential(
                account, CredentialKind.PASSWORD, plan.name, plan.password_hash
            )
        await operator.set_credential(account, CredentialKind.ROLE, "role", plan.role)
        for key_id, digest in plan.keys.items():
            await operator.set_credential(account, CredentialKind.API_KEY, key_id, digest)
        for transfer in plan.transfers:
            instrument = listing.instruments[transfer.symbol].number if transfer.symbol else CASH
            await operator.transfer(
                account, transfer.amount, instrument, bytes.fromhex(transfer.request_id)
            )


async def carry_out_pending(operator: Operator, listing: Listing, state_dir: Path) -> None:
    """Carry out the plans that wait in the state folder, then remove them."""
    path = state_dir / PENDING
    plans = load_plans(path)
    if plans:
        await carry_out(operator, listing, plans)
        path.unlink()
