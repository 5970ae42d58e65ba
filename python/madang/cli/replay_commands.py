"""`madang replay`: recorded order flow for a running venue."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from madang.bus import Bus
from madang.cli import session
from madang.cli.amounts import UsageError, price_units
from madang.exchange.gateway import OrderGateway
from madang.exchange.replay.recording import Recording, open_recording
from madang.exchange.replay.venue import Found, VenueDriver, agreement, play, prepare
from madang.exchange.venue.server import COMMITTED, NOTICE
from madang.wire.codes import Side
from madang.wire.commands import InstrumentTerms

COLLAR_BPS = 500
REPORT_S = 1.0
ANSWER_TIMEOUT_MS = 5_000
BOOK_LEVELS = 5
BOOK_TRIES, BOOK_PAUSE_S = 200, 0.02

StateOption = Annotated[str | None, typer.Option("--state", help="State folder.")]


def replay(
    file: Annotated[Path, typer.Argument(help="LOBSTER messages, Bitstamp events or a CSV.")],
    symbol: Annotated[str, typer.Option(help="The symbol to drive; listed if it is unknown.")],
    speed: Annotated[str, typer.Option(help="1: as recorded, 10: ten times; max: at once.")] = "1",
    book: Annotated[Path | None, typer.Option(help="The orderbook file of a LOBSTER pair.")] = None,
    tick: Annotated[str, typer.Option(help="Price step, where the symbol is new.")] = "0.01",
    clear: Annotated[bool, typer.Option("--clear", help="Empty the book at the end.")] = False,
    state: StateOption = None,
) -> None:
    """Drive a symbol of this machine's venue with recorded order flow, as its operator."""
    terms = InstrumentTerms(
        symbol.encode(), name=b"Replay", tick=price_units(tick), collar_bps=COLLAR_BPS
    )
    pace = _speed(speed)
    try:
        recording = open_recording(file, book)
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise UsageError(f"{file}: {error}") from error
    for line in session.with_bus(state, lambda bus: _replay(bus, recording, terms, pace, clear)):
        typer.echo(line)


def _speed(text: str) -> float:
    try:
        speed = 0.0 if text == "max" else float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < math.inf:
        raise UsageError("--speed: a number from 0, or max", speed=text)
    return speed


async def _replay(
    bus: Bus, recording: Recording, terms: InstrumentTerms, speed: float, clear: bool
) -> list[str]:
    """Play a recording until its end or Ctrl-C and return what came of it."""
    found = await prepare(bus, session.operator(bus), terms)
    driver = VenueDriver(bus, OrderGateway(bus), found.accounts)
    count = 0

    def tell(number: int) -> None:
        nonlocal count
        count = number

    playing = asyncio.create_task(play(recording, driver, found, speed, tell))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, playing.cancel)
    while not playing.done():
        await asyncio.wait([playing], timeout=REPORT_S)
        sys.stderr.write(f"{count} of {recording.events} events, {driver.commands} commands\n")
    if not playing.cancelled():
        playing.result()
    lines = _outcome(recording, driver, found, count)
    symbol = found.instrument.symbol
    agree, total = agreement(recording.levels(), await _book(bus, symbol), BOOK_LEVELS)
    lines.append(f"book        {agree} of the best {total} levels are as the file says")
    if clear:
        await driver.clear()
    driver.close()
    return lines


def _outcome(recording: Recording, driver: VenueDriver, found: Found, count: int) -> list[str]:
    summary = recording.summary()
    listed = " (listed for this)" if found.listed else ""
    return [
        f"symbol      {found.instrument.symbol}{listed}",
        f"events      {count} of {recording.events}, {driver.commands} commands",
        f"introduced  {summary.introduced} orders",
        f"skipped     {summary.skipped} events that met nothing",
        f"rejected    {summary.rejected} orders",
        f"fills       {driver.foreign} against orders of others",
        f"            {summary.details}",
    ]


async def _book(bus: Bus, symbol: str) -> dict[Side, dict[int, int]]:
    """Return the best levels of the venue's book, as the feed has them once it is up to date."""
    committed = NOTICE.unpack(await bus.request(COMMITTED, b"", ANSWER_TIMEOUT_MS))[1]
    for _ in range(BOOK_TRIES):
        if (await _ask(bus, {"kind": "sync"}))["sequence"] >= committed:
            break
        await asyncio.sleep(BOOK_PAUSE_S)
    answer = await _ask(bus, {"kind": "book", "symbol": symbol})
    return {
        Side.BUY: dict(answer["bids"]),
        Side.SELL: dict(answer["asks"]),
    }


async def _ask(bus: Bus, question: dict[str, str]) -> Any:  # noqa: ANN401 - msgpack
    payload = msgspec.msgpack.encode(question)
    return msgspec.msgpack.decode(await bus.request("feed.query", payload, ANSWER_TIMEOUT_MS))
