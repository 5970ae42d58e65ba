"""One metrics page for a whole machine, whichever of its processes is asked.

What the supervisor knows of every process (from the scoreboard, /proc and its sockets) comes over
the control socket; what only a process itself knows comes over the bus, from everybody who tells
(`telling`). Both are waited for within a limit: who does not answer is left out and counted. A
process's numbers carry its name, so that a process that is replaced never makes a sum go down
unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from madang.bus import Bus, BusError, MessageTooLarge, NoServer, Request
from madang.cluster.asking import ask
from madang.cluster.errors import ControlRefused, NotRunning
from madang.cluster.scoreboard import Scores
from madang.edge.route import Metric
from madang.edge.system import render_metrics

ANSWER_TIMEOUT_MS: Final = 1_000
FRESH_S: Final = 0.2
"""A page made so shortly before is given again: asking often costs no more than asking seldom."""
SHOW_S: Final = 1.0

Families = Callable[[], Iterable[Metric]]


class Shown(Protocol):
    """Which process tells: part of `madang.cluster.process.Process`."""

    @property
    def scores(self) -> Scores:
        """Its row of the scoreboard."""
        ...

    @property
    def generation(self) -> int:
        """Which of those that bear its name it is."""
        ...

    @property
    def runtime_dir(self) -> Path:
        """Where the supervisor is asked."""
        ...


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What a process tells. During a reload two processes have one name."""

    generation: int
    families: list[Metric]


_DECODER = msgspec.msgpack.Decoder(Told)


def subject_of(name: str) -> str:
    """Return where the process with bus name `name` is asked."""
    return f"metrics.{name}"


class Teller:
    """Answers who gathers, and shows the bus's rates on the scoreboard, until it is closed."""

    def __init__(self, bus: Bus, process: Shown, families: Families = tuple) -> None:
        self._bus = bus
        self._process = process
        self._families = families
        self._server = bus.serve(subject_of(bus.name), self._answer)
        self._showing = asyncio.get_running_loop().create_task(self._show())

    def close(self) -> None:
        """Tell no more."""
        self._showing.cancel()
        self._server.close()

    def _answer(self, requests: list[Request]) -> None:
        for request in requests:
            own = [*self._families(), *bus_metrics(self._bus)]
            found = Told(self._process.generation, own)
            try:
                request.respond(msgspec.msgpack.encode(found))
            except MessageTooLarge as error:
                request.refuse(error.message)

    async def _show(self) -> None:
        while True:
            found = self._bus.statistics()
            scores = self._process.scores
            scores.bus_sent = found.get("published", 0)
            scores.bus_received = found.get("received", 0)
            await asyncio.sleep(SHOW_S)


@contextmanager
def telling(bus: Bus, process: Shown, families: Families) -> Iterator[None]:
    """Tell for as long as this lasts."""
    teller = Teller(bus, process, families)
    try:
        yield
    finally:
        teller.close()


def bus_metrics(bus: Bus) -> Iterable[Metric]:
    """Return the families of one process's place on the bus."""
    found = dict(bus.statistics())
    sizes = {
        "peers": ("madang_bus_peers", "Processes that are connected on the bus."),
        "unsent_bytes": ("madang_bus_unsent_bytes", "Bytes that wait for peers to read."),
        "interests": ("madang_bus_interests", "Patterns that peers subscribe to."),
        "open_requests": ("madang_bus_open_requests", "Requests without an answer yet."),
    }
    for key, (name, text) in sizes.items():
        yield Metric(name, "gauge", text, (({}, float(found.pop(key, 0))),))
    counts = tuple(({"what": name}, float(count)) for name, count in sorted(found.items()))
    yield Metric("madang_bus_events_total", "counter", "What happened on the bus.", counts)


class Gatherer:
    """Makes the page; `own` are the families of this process, which is not asked."""

    def __init__(self, bus: Bus, process: Shown, own: Families) -> None:
        self._bus = bus
        self._process = process
        self._own = own
        self._making: asyncio.Task[bytes] | None = None
        self._made_s = 0.0

    async def page(self) -> bytes:
        """Return the page; who asks while one is made gets that one."""
        loop = asyncio.get_running_loop()
        making = self._making
        if making is None or (making.done() and loop.time() - self._made_s > FRESH_S):
            making = self._making = loop.create_task(self._make())
        return await asyncio.shield(making)

    async def _make(self) -> bytes:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        names = sorted(self._bus.peers())
        asked = asyncio.gather(*(self._tell_me(name) for name in names))
        supervisor, told = await asyncio.gather(self._supervisor(), asked)
        own = Told(self._process.generation, [*self._own(), *bus_metrics(self._bus)])
        by_process = [(self._bus.name, own)]
        missing = 0
        for name, answer in zip(names, told, strict=True):
            if answer is None:
                missing += 1
            elif answer.families:
                by_process.append((name, answer))
        self._made_s = loop.time()
        about = _about(len(by_process), missing, bool(supervisor), self._made_s - began_s)
        return render_metrics([*supervisor, *merge(by_process), *about])

    async def _tell_me(self, name: str) -> Told | None:
        """Return what a process tells: nothing where it tells nobody, None where it is silent."""
        try:
            answer = await self._bus.request(subject_of(name), b"", ANSWER_TIMEOUT_MS)
            return _DECODER.decode(answer)
        except NoServer:
            return Told(0, [])
        except (BusError, msgspec.DecodeError):
            return None

    async def _supervisor(self) -> list[Metric]:
        try:
            question = {"command": "metrics"}
            return families_of(
                await ask(self._process.runtime_dir, question, ANSWER_TIMEOUT_MS / 1_000)
            )
        except (NotRunning, ControlRefused):
            return []


def _process(bus_name: str) -> str:
    """Return the instance that a bus name stands for; behind a dot is what makes it unique."""
    return bus_name.partition(".")[0]


def families_of(answer: Mapping[str, Any]) -> list[Metric]:
    """Return the families of the supervisor's answer to `metrics`."""
    kinds: dict[str, str] = {}
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for sample in answer["samples"]:
        kinds[sample["name"]] = sample["kind"]
        samples.setdefault(sample["name"], []).append((sample["labels"], sample["value"]))
    return [
        Metric(name, kinds[name], answer["help"].get(name, ""), tuple(found))
        for name, found in samples.items()
    ]


def merge(told: Iterable[tuple[str, Told]]) -> list[Metric]:
    """Return one family for each name, with every process's samples labelled by the process.

    What every process knows alike (`shared`) is taken once, from the first who told it.
    """
    found: dict[str, Metric] = {}
    for name, answer in told:
        who = {"process": _process(name), "generation": str(answer.generation)}
        for family in answer.families:
            before = found.get(family.name)
            if family.shared:
                found.setdefault(family.name, family)
                continue
            labelled = tuple(({**labels, **who}, number) for labels, number in family.samples)
            samples = labelled if before is None else before.samples + labelled
            found[family.name] = family._replace(samples=samples)
    return list(found.values())


def _about(told: int, missing: int, supervisor: bool, seconds: float) -> list[Metric]:
    gauges = {
        "madang_scrape_processes": (told, "Processes whose own metrics are here."),
        "madang_scrape_missing_processes": (missing, "Processes that did not answer in time."),
        "madang_scrape_supervisor_up": (int(supervisor), "Whether the supervisor answered."),
        "madang_scrape_duration_seconds": (round(seconds, 6), "How long the answers took."),
    }
    return [
        Metric(name, "gauge", text, (({}, float(value)),)) for name, (value, text) in gauges.items()
    ]
