"""`madang account …`: every change is a command in the venue's log."""

from __future__ import annotations

import getpass
import json
import sys
from typing import Annotated, Any

import typer

from madang.bus import Bus
from madang.cli import session
from madang.cli.amounts import UsageError, cash_units, quantity_units
from madang.core.clock import SystemClock
from madang.exchange.api.store_client import StoreClient
from madang.exchange.api.times import time_text
from madang.exchange.operator import Listing, read_directory
from madang.exchange.passwords import weakness
from madang.exchange.registration import invitation_digest, new_invitation
from madang.wire.codes import (
    CASH,
    CASH_SCALE,
    AccountState,
    CredentialKind,
)
from madang.wire.records import Account

INVITATION_HOURS = 168
INVITATION_HOURS_MAX = 24 * 365
INVITATION_ID_CHARACTERS = 12
HOUR_NS = 3_600 * 1_000_000_000

app = typer.Typer(help="Accounts of the venue.", no_args_is_help=True)

StateOption = Annotated[str | None, typer.Option("--state", help="State folder.")]
Name = Annotated[str, typer.Argument(help="The account's name.")]


def find(listing: Listing, name: str) -> Account:
    """Return an account by name."""
    account = listing.accounts.get(name)
    if account is None:
        raise UsageError(f"there is no account named {name}", name=name)
    return account


@app.command()
def create(
    name: Name,
    cash: Annotated[str, typer.Option(help="Cash to deposit, e.g. 100000.00")] = "0",
    role: Annotated[str, typer.Option(help="trader, viewer or admin")] = "trader",
    state: StateOption = None,
) -> None:
    """Create an account with an API key and, if wanted, cash."""
    if role not in ("trader", "viewer", "admin"):
        raise UsageError("--role must be trader, viewer or admin", role=role)
    amount = cash_units(cash)

    async def work(bus: Bus) -> tuple[int, str, str]:
        operator = session.operator(bus)
        account = await operator.create_account(name)
        await operator.set_credential(account, CredentialKind.ROLE, "role", role)
        if amount:
            await operator.transfer(account, amount)
        return account, *await operator.add_key(account)

    account, key_id, secret = session.change(state, work)
    typer.echo(f"account {name} is number {account}\nAPI key {key_id}\nsecret  {secret}")


@app.command()
def fund(
    name: Name,
    cash: Annotated[str, typer.Option(help="Cash; negative takes out.")] = "0",
    shares: Annotated[
        list[str] | None, typer.Option(help="SYMBOL=QUANTITY; negative takes out.")
    ] = None,
    state: StateOption = None,
) -> None:
    """Deposit or withdraw cash and shares."""
    amount = cash_units(cash)
    moves: list[tuple[str, int]] = []
    for text in shares or []:
        symbol, found, quantity = text.partition("=")
        if not found:
            raise UsageError(f"--shares {text}: expected SYMBOL=QUANTITY")
        moves.append((symbol, quantity_units(quantity)))

    async def work(bus: Bus) -> None:
        listing = await read_directory(bus)
        operator = session.operator(bus)
        account = find(listing, name).number
        numbers: dict[str, int] = {}
        for symbol, _ in moves:
            if symbol not in listing.instruments:
                raise UsageError(f"there is no instrument {symbol}")
            numbers[symbol] = listing.instruments[symbol].number
        if amount:
            await operator.transfer(account, amount, CASH)
        for symbol, quantity in moves:
            await operator.transfer(account, quantity, numbers[symbol])

    session.with_bus(state, work)
    typer.echo(f"done for {name}")


@app.command()
def keys(
    name: Name,
    revoke: Annotated[str | None, typer.Option(help="Key id to revoke.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Make another key.")] = False,
    state: StateOption = None,
) -> None:
    """List, make and revoke API keys."""

    async def work(bus: Bus) -> list[str]:
        listing = await read_directory(bus)
        account = find(listing, name).number
        operator = session.operator(bus)
        if revoke:
            await operator.set_credential(account, CredentialKind.API_KEY, revoke, "")
            return [f"revoked {revoke}"]
        if new:
            key_id, secret = await operator.add_key(account)
            return [f"API key {key_id}", f"secret  {secret}"]
        return [
            credential.name
            for credential in listing.credentials
            if credential.account == account and credential.kind == CredentialKind.API_KEY
        ]

    run = session.change if revoke or new else session.with_bus
    for line in run(state, work):
        typer.echo(line)


@app.command()
def password(name: Name, state: StateOption = None) -> None:
    """Set the password for signing in on the pages; read from the terminal or standard input."""
    from argon2 import PasswordHasher

    secret = (
        getpass.getpass(f"New password for {name}: ")
        if sys.stdin.isatty()
        else sys.stdin.readline().rstrip("\n")
    )
    weak = weakness(secret, name)
    if weak is not None:
        raise UsageError(weak)
    hashed = PasswordHasher().hash(secret)

    async def work(bus: Bus) -> None:
        account = find(await read_directory(bus), name).number
        await session.operator(bus).set_credential(account, CredentialKind.PASSWORD, name, hashed)

    session.change(state, work)
    typer.echo(f"the password of {name} is set")


@app.command()
def invite(
    hours: Annotated[
        int, typer.Option(min=1, max=INVITATION_HOURS_MAX, help="How long it can be used.")
    ] = INVITATION_HOURS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    state: StateOption = None,
) -> None:
    """Make an invitation: whoever has it may make one account, with registration = "invite"."""
    invitation = new_invitation()

    async def work(bus: Bus) -> int:
        answer = await StoreClient(bus, SystemClock()).ask(
            "add_invitation",
            repeatable=False,
            digest=invitation_digest(invitation),
            lasts_ns=hours * HOUR_NS,
        )
        return int(answer["until_ns"])

    until = time_text(session.with_bus(state, work))
    path = f"/signup#{invitation}"  # a browser keeps what stands behind # to itself
    if as_json:
        typer.echo(json.dumps({"invitation": invitation, "path": path, "until": until}))
        return
    typer.echo(f"invitation {invitation}\npage       {path}\nuntil      {until}")
    typer.echo("it makes one account, and is shown only now")


@app.command()
def invitations(
    revoke: Annotated[str | None, typer.Option(help="Id of an unused one to revoke.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    state: StateOption = None,
) -> None:
    """List invitations by the beginning of their digest, newest first, or revoke one."""

    async def work(bus: Bus) -> dict[str, Any]:
        store = StoreClient(bus, SystemClock())
        if revoke:
            return await store.ask("remove_invitations", prefix=revoke)
        return await store.ask("invitations")

    if revoke is not None and len(revoke) < INVITATION_ID_CHARACTERS:
        raise UsageError(f"--revoke {revoke}: expected an id of `madang account invitations`")
    answer = session.with_bus(state, work)
    if revoke is not None:
        if not answer["removed"]:
            raise UsageError(f"there is no unused invitation {revoke}")
        typer.echo(f"revoked {revoke}")
        return
    rows = [
        {
            "id": row["digest"][:INVITATION_ID_CHARACTERS],
            "until": time_text(row["until_ns"]),
            "state": _invitation_state(row, answer["now_ns"]),
        }
        for row in answer["rows"]
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo(f"{row['id']}  {row['until']}  {row['state']}")


def _invitation_state(row: dict[str, Any], now_ns: int) -> str:
    if row["claimant"] is not None:
        return "used"
    return "over" if row["until_ns"] <= now_ns else "unused"


@app.command()
def disable(name: Name, state: StateOption = None) -> None:
    """Disable an account: its orders are canceled, its keys and sign-ins stop working."""
    _set_state(name, AccountState.DISABLED, state)


@app.command()
def enable(name: Name, state: StateOption = None) -> None:
    """Enable an account again."""
    _set_state(name, AccountState.ACTIVE, state)


def _set_state(name: str, wanted: AccountState, state: str | None) -> None:
    async def work(bus: Bus) -> None:
        account = find(await read_directory(bus), name).number
        await session.operator(bus).set_account_state(account, wanted)

    session.change(state, work)
    typer.echo(f"{name} is {wanted.name.lower()}")


@app.command("list")
def list_accounts(state: StateOption = None) -> None:
    """List accounts with their cash."""

    async def work(bus: Bus) -> Listing:
        return await read_directory(bus)

    for account in session.with_bus(state, work).accounts.values():
        whole, part = divmod(account.cash, CASH_SCALE)
        standing = AccountState(account.state).name.lower()
        typer.echo(f"{account.number:>6}  {account.name:<24} {whole}.{part:06d}  {standing}")
