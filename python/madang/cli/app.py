"""The composition root: from settings to the processes of one machine.

The one file that knows everybody. Start order is stop order reversed: the venue starts first and
stops last, so that no worker takes an order that nobody can log.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping
from pathlib import Path

import msgspec

from madang.cli.settings import Settings
from madang.cluster.agent import AGENT_PORT, HEALTH_PORT
from madang.cluster.agent import NAME as AGENT
from madang.cluster.settings import (
    ApplicationSettings,
    ClusterSettings,
    LogSettings,
    PortSettings,
)
from madang.edge.exporter import exporter
from madang.exchange.demo.people import SYMBOLS, load_or_invent
from madang.exchange.venue.settings import InstrumentSettings, VenueSettings
from madang.wire.codes import PRICE_SCALE

REPLICA_NICE = 5
PRELOAD = (
    "madang.exchange.venue.process",
    "madang.exchange.ledger.process",
    "madang.exchange.feed.process",
    "madang.exchange.worker",
)


def compose(settings: Settings, *, demo: bool) -> ClusterSettings:
    """Return what the supervisor runs; a demo's terminal is for its visitor, not for its log."""
    applications = [*(_market(settings, demo=demo) if settings.has_market else ())]
    applications += settings.applications
    applications += [*_agent(settings), *_exporter(settings)]
    return ClusterSettings(
        state_dir=settings.state_dir,
        runtime_dir=settings.runtime_dir,
        applications=tuple(applications),
        log=LogSettings(terminal=not demo),
    )


def _market(settings: Settings, *, demo: bool) -> list[ApplicationSettings]:
    engine = settings.venue.engine
    replica = {"engine": engine, "timezone": settings.venue.timezone}
    ledger = {
        **replica,
        "hours": msgspec.to_builtins(settings.venue.hours),
        "ledger": msgspec.to_builtins(settings.ledger),
    }
    venue = _application("venue", msgspec.to_builtins(settings.venue))
    if demo:
        venue = dataclasses.replace(venue, target="madang.exchange.demo.beginning:main")
    applications = [
        venue,
        _application("ledger", ledger, REPLICA_NICE),
        _application("feed", replica, REPLICA_NICE),
        _workers(settings),
    ]
    if demo:
        applications.append(_traders(settings))
    return applications


def _application(name: str, options: Mapping[str, object], nice: int = 0) -> ApplicationSettings:
    return ApplicationSettings(
        name=name,
        target=f"madang.exchange.{name}.process:main",
        options=options,
        nice=nice,
        preload=PRELOAD,
        exclusive=True,
    )


def _workers(settings: Settings) -> ApplicationSettings:
    listen = settings.listen
    return ApplicationSettings(
        name="worker",
        target="madang.exchange.worker:main",
        instances=settings.cluster.worker_count(),
        ports=(PortSettings("http", listen.host, listen.port),),
        options={
            "edge": msgspec.to_builtins(settings.edge),
            "stream": msgspec.to_builtins(settings.stream),
            "hub": msgspec.to_builtins(settings.hub),
            "venue": msgspec.to_builtins(settings.venue),
            "accounts": msgspec.to_builtins(settings.accounts),
        },
        preload=PRELOAD,
    )


def _agent(settings: Settings) -> list[ApplicationSettings]:
    """Return the process that tells balancers about this machine, where a port is set for it."""
    balancer, host = settings.balancer, settings.listen.host
    wanted = {AGENT_PORT: balancer.agent_port, HEALTH_PORT: balancer.health_port}
    ports = tuple(PortSettings(name, host, port) for name, port in wanted.items() if port)
    if not ports:
        return []
    agent = ApplicationSettings(
        name=AGENT,
        target="madang.cluster.agent:main",
        ports=ports,
        options={"applications": _served(settings)},
        preload=PRELOAD if settings.has_market else ("madang.cluster.agent",),
    )
    return [agent]


def _served(settings: Settings) -> list[str]:
    """Return the names of the applications that have clients."""
    own = [a.name for a in settings.applications if a.ports]
    return [*(["worker"] if settings.has_market else []), *own]


def _exporter(settings: Settings) -> list[ApplicationSettings]:
    """Return the process that serves `/metrics` on a port of its own, where one is set."""
    section = settings.cluster
    if not section.metrics_port:
        return []
    preload = PRELOAD if settings.has_market else ()
    return [exporter(section.metrics_port, section.metrics_host, preload)]


def _traders(settings: Settings) -> ApplicationSettings:
    return ApplicationSettings(
        name="traders",
        target="madang.exchange.demo.process:main",
        options={"host": settings.listen.host, "port": settings.listen.port},
        nice=REPLICA_NICE,
        preload=PRELOAD,
        exclusive=True,
    )


def free_port(host: str) -> int:
    """Return a port that is free at this moment, for a demo whose traders must know it."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def demo_venue(venue: VenueSettings) -> VenueSettings:
    """Return the venue's settings with the demo's symbols."""
    instruments = tuple(
        InstrumentSettings(
            symbol=symbol,
            name=name,
            reference_price=f"{price // PRICE_SCALE}.00",
        )
        for symbol, (name, price) in SYMBOLS.items()
    )
    return msgspec.structs.replace(venue, instruments=instruments)


def prepare_state(state_dir: Path) -> None:
    """Make the state folder, for its owner alone."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def demo_lines(state_dir: Path, address: str) -> list[str]:
    """Return what a person needs to use the demo."""
    visitor = load_or_invent(state_dir).persons["demo"]
    return [
        f"  page      {address}/trade/{next(iter(SYMBOLS))}",
        f"  sign in   demo / {visitor.password}",
        f"  API key   {visitor.key_id}",
        f"  secret    {visitor.secret}",
    ]
