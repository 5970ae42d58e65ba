"""`madang venue …`: instruments and sessions by log commands; the log itself by maintenance."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from madang.bus import Bus, BusError
from madang.cli import session
from madang.cli.amounts import UsageError, price_units, quantity_units
from madang.cli.app import prepare_state
from madang.exchange.api.feed_client import FeedClient, FeedUnavailable
from madang.exchange.ledger.copy import FILE as HISTORY
from madang.exchange.ledger.copy import STORE_FILE, copy_history, copy_store
from madang.exchange.listing import EXCHANGE_RULE
from madang.exchange.operator import read_directory
from madang.exchange.subjects import COMMITTED
from madang.exchange.venue import backup as copies
from madang.exchange.venue import maintenance
from madang.exchange.venue.server import NOTICE
from madang.wire.codes import Session
from madang.wire.commands import InstrumentTerms

MARKET = 0
BPS_PER_PERCENT = 100
ANSWER_TIMEOUT_MS = 5_000

app = typer.Typer(help="The venue: instruments, sessions, its log.", no_args_is_help=True)

StateOption = Annotated[str | None, typer.Option("--state", help="State folder.")]
Symbol = Annotated[str | None, typer.Argument(help="One instrument; without it, the whole market.")]


@app.command()
def instrument(
    symbol: Annotated[str, typer.Argument(help="Symbol, e.g. AAPL")],
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
    exchange: Annotated[str, typer.Option(help=f"{EXCHANGE_RULE}.")] = "NASDAQ",
    tick: Annotated[str, typer.Option(help="Smallest price step.")] = "0.01",
    lot: Annotated[str, typer.Option(help="Smallest quantity step.")] = "0.000000001",
    reference_price: Annotated[str, typer.Option(help="Price before the first trade.")] = "0",
    collar_percent: Annotated[
        int, typer.Option(min=1, max=100, help="How far a market order may go.")
    ] = 5,
    state: StateOption = None,
) -> None:
    """Create an instrument or change its rules."""
    if price_units(tick) < 1 or quantity_units(lot) < 1:
        raise UsageError("--tick and --lot must be above 0", tick=tick, lot=lot)
    terms = InstrumentTerms(
        symbol.encode(),
        name=name.encode(),
        exchange=exchange.encode(),
        tick=price_units(tick),
        lot=quantity_units(lot),
        reference_price=price_units(reference_price),
        collar_bps=collar_percent * BPS_PER_PERCENT,
    )

    async def work(bus: Bus) -> int:
        return await session.operator(bus).set_instrument(terms)

    typer.echo(f"{symbol} is instrument {session.change(state, work)}")


@app.command()
def halt(symbol: Symbol = None, state: StateOption = None) -> None:
    """Stop matching; orders stay and may be canceled."""
    _set_session(symbol, Session.HALTED, state)


@app.command()
def resume(symbol: Symbol = None, state: StateOption = None) -> None:
    """End a halt."""
    _set_session(symbol, Session.OPEN, state)


@app.command("open")
def open_(symbol: Symbol = None, state: StateOption = None) -> None:
    """Open for trading; what queued is released in order."""
    _set_session(symbol, Session.OPEN, state)


@app.command()
def close(symbol: Symbol = None, state: StateOption = None) -> None:
    """Close; new orders queue until it opens."""
    _set_session(symbol, Session.CLOSED, state)


def _set_session(symbol: str | None, wanted: Session, state: str | None) -> None:
    async def work(bus: Bus) -> str:
        number = MARKET
        if symbol is not None:
            known = (await read_directory(bus)).instruments.get(symbol)
            if known is None:
                raise UsageError(f"there is no instrument {symbol}", symbol=symbol)
            number = known.number
        await session.operator(bus).set_session(number, wanted)
        return "" if symbol is None else await _effective_session(bus, symbol)

    effective = session.change(state, work)
    typer.echo(f"{symbol or 'the market'} is {wanted.name.lower()}")
    if effective not in ("", wanted.name.lower()):
        typer.echo(f"but nothing trades yet: the market as a whole is {effective}")


async def _effective_session(bus: Bus, symbol: str) -> str:
    """Return the stricter of an instrument's session and the market's, "" where nobody can tell."""
    feed = FeedClient(bus)
    try:
        await feed.sync()
        found = [state.session for state in await feed.symbols() if state.symbol == symbol]
    except (BusError, FeedUnavailable):
        return ""
    return found[0] if found else ""


def _committed(state: str | None) -> int | None:
    """Return what the running venue says is committed, None where none runs."""

    async def work(bus: Bus) -> int:
        answer = await bus.request(COMMITTED, b"", ANSWER_TIMEOUT_MS)
        return int(NOTICE.unpack(answer)[1])

    try:
        return session.with_bus(state, work)
    except session.NotRunningError:
        return None


@app.command()
def verify(state: StateOption = None) -> None:
    """Replay the whole log, recompute every balance, compare every snapshot."""
    report = maintenance.verify(session.market_folder(state), committed=_committed(state))
    for name, value in msgspec.to_builtins(report).items():
        typer.echo(f"{name.replace('_', ' '):<20} {value}")


@app.command()
def inspect(
    after: Annotated[int, typer.Option(help="Begin after this command.")] = 0,
    limit: Annotated[int, typer.Option(help="At most so many commands.")] = 100,
    state: StateOption = None,
) -> None:
    """Print the log's commands, one JSON object a line."""
    folder = session.market_folder(state)
    for row in maintenance.inspect(folder, after, limit, _committed(state)):
        typer.echo(msgspec.json.encode(row).decode())


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    state: StateOption = None,
) -> None:
    """Copy log, snapshots, history and store, also while the venue runs."""
    folder = session.market_folder(state)
    with tempfile.TemporaryDirectory(dir=target.absolute().parent) as aside:
        has_history = copy_history(folder, Path(aside))
        manifest = copies.backup(folder, target, _committed(state))
        has_store = copy_store(folder, Path(aside))
        if has_history:
            os.replace(Path(aside) / HISTORY, target / HISTORY)
        if has_store:
            os.replace(Path(aside) / STORE_FILE, target / STORE_FILE)
    typer.echo(f"{target}: a backup as of command {manifest.sequence}")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A folder that `backup` made.")],
    state: StateOption = None,
) -> None:
    """Bring a backup into a state folder that holds no market, and verify it there."""
    folder = session.state_folder(state)
    prepare_state(folder)
    copy_history(source, folder)
    copy_store(source, folder)
    report = copies.restore(source, folder)
    typer.echo(f"{folder}: restored and verified as of command {report.sequence}")
