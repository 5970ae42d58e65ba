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
from madang.exchange.replay.venue import (
    IN_ORDER,
    Found,
    Playing,
    VenueDriver,
    agreement,
    clear_book,
    prepare,
)
from madang.exchange.subjects import COMMITTED
from madang.exchange.venue.server import NOTICE
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
    """Drive a symbol of this machine's venue with recorded order flow, as its operator.

    Example: madang replay messages.csv --symbol AAPL
    """
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
    symbol = found.instrument.symbol
    gateway = OrderGateway(bus, IN_ORDER)
    await clear_book(gateway, found.accounts)
    alone = not any((await _book(bus, symbol)).values())
    driver = VenueDriver(bus, gateway, found, alone=alone)
    playing = Playing(recording, driver, speed)
    await _play(playing, recording, driver, found)
    lines = _outcome(recording, driver, found, playing)
    agree, total = agreement(recording.levels(), await _book(bus, symbol), BOOK_LEVELS)
    lines.append(f"book        {agree} of the best {total} levels are as the file says")
    if clear:
        await clear_book(gateway, found.accounts)
    driver.close()
    return lines


async def _play(playing: Playing, recording: Recording, driver: VenueDriver, found: Found) -> None:
    """Play to the end or the first Ctrl-C, and say every second how far it is."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, playing.stop)
    task = asyncio.create_task(playing.play(found))
    try:
        while not task.done():
            await asyncio.wait([task], timeout=REPORT_S)
            sys.stderr.write(
                f"{playing.events} of {recording.events} events, {driver.commands} commands\n"
            )
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    task.result()


def _outcome(
    recording: Recording, driver: VenueDriver, found: Found, playing: Playing
) -> list[str]:
    summary = recording.summary()
    listed = " (listed for this)" if found.listed else ""
    rate = round(driver.commands / max(playing.seconds, 0.001))
    agree, total = driver.executions()
    lines = [
        f"symbol      {found.instrument.symbol}{listed}",
        f"events      {playing.events} of {recording.events}, {driver.commands} commands",
        f"pace        {rate} commands/s over {playing.seconds:.1f} s, "
        f"at most {round(playing.pacer.late_max_s * 1000)} ms behind the file's time",
        f"introduced  {summary.introduced} orders",
        f"skipped     {summary.skipped} events that met nothing",
        f"rejected    {summary.rejected} orders",
        f"executions  {agree} of {total} expected were told by the venue exactly so",
        f"fills       {driver.fills.foreign} against orders of others",
        f"            {summary.details}",
    ]
    if not driver.alone:
        lines.append("            one command at a time, since others trade this symbol")
    if driver.missed:
        lines.append(f"            {driver.missed} messages of the venue were lost on the way")
    return lines


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
