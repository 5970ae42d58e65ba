"""The traders' process: the same crowd as `madang sim`, over the same public interface."""

from __future__ import annotations

import asyncio

import msgspec

from madang.cluster.process import Process
from madang.core import log
from madang.exchange.demo.people import SYMBOLS, TRADERS, load_or_invent
from madang.exchange.sim.market import NoPriceError
from madang.exchange.sim.rest import Key, Unavailable
from madang.exchange.sim.runner import Report, SimSettings, simulate
from madang.exchange.sim.socket import SignInRefused

RATE = 30.0
"""Orders a second: the market looks alive and most of a small machine stays free."""

RETRY_S = 1.0


class TradersSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the traders find the venue."""

    host: str
    port: int


async def _trade(
    process: Process, settings: SimSettings, keys: list[Key], stop: asyncio.Event
) -> None:
    """Trade until `stop`; who has no account yet, in a state folder from before, will have one."""

    def tell(report: Report) -> None:
        process.status(f"{report.acknowledged} orders/s, {report.trades} trades/s")
        if report.reasons:
            log.get("traders").info("refused", **report.reasons)

    while not stop.is_set():
        try:
            await simulate(settings, keys, stop, tell, process.status)
        except (SignInRefused, Unavailable, NoPriceError) as error:
            log.get("traders").warning("cannot trade yet", reason=error.message)
            await asyncio.sleep(RETRY_S)


async def main(process: Process) -> None:
    """Run the demo's traders until the cluster stops them; their quotes stay for the next start."""
    options = msgspec.convert(dict(process.options), TradersSettings)
    people = load_or_invent(process.state_dir)
    persons = [people.persons[name] for name in TRADERS.names()]
    settings = SimSettings(
        url=f"http://{options.host}:{options.port}",
        symbols=tuple(SYMBOLS),
        rate=RATE,
        seed=people.seed,
        counts=TRADERS,
        leave=False,
    )
    log.get("traders").info("trading", traders=TRADERS.total, seed=people.seed, rate=RATE)
    stop = asyncio.Event()
    keys = [Key(person.key_id, person.secret) for person in persons]
    trading = asyncio.create_task(_trade(process, settings, keys, stop))
    process.ready()
    waiting = asyncio.create_task(process.wait_stop())
    await asyncio.wait([trading, waiting], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await trading
    waiting.cancel()
