"""`madang venue …`: instruments and sessions by log commands; the log itself by maintenance."""

from __future__ import annotations

from typing import Annotated

import typer

from madang.bus import Bus
from madang.cli import session
from madang.cli.amounts import UsageError, price_units, quantity_units
from madang.exchange.operator import read_directory
from madang.wire.codes import Session
from madang.wire.commands import InstrumentTerms

MARKET = 0
BPS_PER_PERCENT = 100

app = typer.Typer(help="The venue: instruments, sessions, its log.", no_args_is_help=True)

StateOption = Annotated[str | None, typer.Option("--state", help="State folder.")]
Symbol = Annotated[str | None, typer.Argument(help="One instrument; without it, the whole market.")]


@app.command()
def instrument(
    symbol: Annotated[str, typer.Argument(help="Symbol, e.g. AAPL")],
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
    exchange: Annotated[str, typer.Option(help="One of Alpaca's exchange codes.")] = "NASDAQ",
    tick: Annotated[str, typer.Option(help="Smallest price step.")] = "0.01",
    lot: Annotated[str, typer.Option(help="Smallest quantity step.")] = "0.000000001",
    reference_price: Annotated[str, typer.Option(help="Price before the first trade.")] = "0",
    collar_percent: Annotated[int, typer.Option(help="How far a market order may go.")] = 5,
    state: StateOption = None,
) -> None:
    """Create an instrument or change its rules."""
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

    typer.echo(f"{symbol} is instrument {session.with_bus(state, work)}")


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
    async def work(bus: Bus) -> None:
        number = MARKET
        if symbol is not None:
            known = (await read_directory(bus)).instruments.get(symbol)
            if known is None:
                raise UsageError(f"there is no instrument {symbol}", symbol=symbol)
            number = known.number
        await session.operator(bus).set_session(number, wanted)

    session.with_bus(state, work)
    typer.echo(f"{symbol or 'the market'} is {wanted.name.lower()}")
