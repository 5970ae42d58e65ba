"""`madang account …`: every change is a command in the venue's log."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from madang.bus import Bus
from madang.cli import session
from madang.cli.amounts import UsageError, cash_units, quantity_units
from madang.exchange.operator import Listing, read_directory
from madang.wire.codes import (
    CASH,
    CASH_SCALE,
    AccountState,
    CredentialKind,
)
from madang.wire.records import Account

PASSWORD_LENGTH_MIN = 8

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

    account, key_id, secret = session.with_bus(state, work)
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

    for line in session.with_bus(state, work):
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
    if len(secret) < PASSWORD_LENGTH_MIN:
        raise UsageError(f"a password has at least {PASSWORD_LENGTH_MIN} characters")
    hashed = PasswordHasher().hash(secret)

    async def work(bus: Bus) -> None:
        account = find(await read_directory(bus), name).number
        await session.operator(bus).set_credential(account, CredentialKind.PASSWORD, name, hashed)

    session.with_bus(state, work)
    typer.echo(f"the password of {name} is set")


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

    session.with_bus(state, work)
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
