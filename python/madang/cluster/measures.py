"""What the supervisor knows as numbers, named as Prometheus wants them: base units, `_total`.

Counts of an application (`madang_requests_total{app=…}`) go on when its processes are replaced:
what a process had counted is kept when it ends. What is said of one process has its instance and
generation as labels and ends with it.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from madang.cluster import linux
from madang.cluster.application import Application, Child
from madang.cluster.policy import State

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
US_PER_S = 1_000_000
NS_PER_S = 1_000_000_000
CLASSES = {"2xx": "succeeded", "3xx": "redirected", "4xx": "refused", "5xx": "errors"}

Labels = Mapping[str, str]
Found = Iterator[tuple[Labels, float]]


class Family(NamedTuple):
    """A metric: its name, "counter" or "gauge", its help, and what it is for one application."""

    name: str
    kind: str
    help: str
    read: Callable[[Application], Found]


def _instances(application: Application) -> Found:
    states = [str(child.state) for child in application.children()]
    for state in State:
        yield {"state": str(state)}, states.count(str(state))


def _by_class(application: Application) -> Found:
    totals = application.totals()
    for label, cell in CLASSES.items():
        yield {"class": label}, totals[cell]


def _causes(application: Application) -> Found:
    for cause, count in application.restarts.items():
        yield {"cause": cause}, count


def _queue(read: str) -> Callable[[Application], Found]:
    def found(application: Application) -> Found:
        for port in application.ports:
            for index in range(len(port.listeners)):
                yield {"port": port.name, "slot": str(index)}, getattr(port.queue(index), read)

    return found


def _one(value: Callable[[Application], float]) -> Callable[[Application], Found]:
    def found(application: Application) -> Found:
        yield {}, value(application)

    return found


def _total(cell: str) -> Callable[[Application], Found]:
    return _one(lambda application: application.totals()[cell])


def _each(value: Callable[[Child], float]) -> Callable[[Application], Found]:
    def found(application: Application) -> Found:
        for child in application.children():
            yield _who(child), value(child)

    return found


def _cell(name: str, scale: float = 1) -> Callable[[Application], Found]:
    return _each(lambda child: getattr(child.scores, name) / scale)


def _who(child: Child) -> Labels:
    return {"process": child.name, "generation": str(child.generation)}


def _started_s(child: Child) -> float:
    if child.pid is None:
        return 0
    return round(time.time() - (time.monotonic_ns() - child.instance.started_ns) / NS_PER_S, 1)


def _states(application: Application) -> Found:
    for child in application.children():
        yield {**_who(child), "state": str(child.state)}, 1


FAMILIES = (
    Family("madang_instances", "gauge", "Processes by state.", _instances),
    Family("madang_instances_wanted", "gauge", "Processes that are wanted.",
           _one(lambda a: a.wanted)),
    Family("madang_instances_ready", "gauge", "Slots that are served.", _one(lambda a: a.ready())),
    Family("madang_generation", "gauge", "The newest generation that serves.",
           _one(lambda a: a.generation)),
    Family("madang_restarts_total", "counter", "Processes started again, by why they had ended.",
           _causes),
    Family("madang_requests_total", "counter", "Requests answered.", _total("requests")),
    Family("madang_responses_total", "counter", "Answers by class of status.", _by_class),
    Family("madang_slow_consumers_total", "counter", "Connections cut because they did not read.",
           _total("slow_consumers")),
    Family("madang_bus_sent_messages_total", "counter", "Messages sent over the bus.",
           _total("bus_sent")),
    Family("madang_bus_received_messages_total", "counter", "Messages got from the bus.",
           _total("bus_received")),
    Family("madang_accept_queue_connections", "gauge", "Connections that wait to be accepted.",
           _queue("waiting")),
    Family("madang_accept_queue_limit_connections", "gauge", "How many may wait.",
           _queue("limit")),
    Family("madang_accept_queue_drops_total", "counter",
           "Connections the kernel dropped because too many waited.", _queue("dropped")),
    Family("madang_process_state", "gauge", "1 for the state that a process is in.", _states),
    Family("madang_process_start_time_seconds", "gauge", "When a process began, in Unix time.",
           _each(_started_s)),
    Family("madang_process_cpu_seconds_total", "counter", "Processor time used.",
           _each(lambda c: c.cpu_ticks / CLOCK_TICKS_PER_S)),
    Family("madang_process_resident_memory_bytes", "gauge", "Resident memory.",
           _each(lambda c: c.rss)),
    Family("madang_process_loop_lag_seconds", "gauge",
           "Worst lateness of the event loop within the last second or two.",
           _cell("loop_lag_us", US_PER_S)),
    Family("madang_process_heartbeats_total", "counter", "Turns of the event loop's heartbeat.",
           _cell("heartbeat")),
    Family("madang_process_connections", "gauge", "Open connections, WebSockets included.",
           _cell("connections")),
    Family("madang_process_websockets", "gauge", "Open WebSockets.", _cell("websockets")),
    Family("madang_process_requests_in_flight", "gauge", "Requests that wait for their answer.",
           _cell("in_flight")),
    Family("madang_process_outbox_bytes", "gauge", "Bytes that wait for clients to read.",
           _cell("outbox_bytes")),
)  # fmt: skip


def samples(applications: list[Application]) -> list[dict[str, object]]:
    """Return every sample: name, kind, labels and value; those of one name follow each other."""
    found = [
        _sample(family.name, family.kind, {"app": application.name, **labels}, value)
        for family in FAMILIES
        for application in applications
        for labels, value in family.read(application)
    ]
    return found + [_sample(name, kind, {}, read()) for name, (kind, _, read) in OWN.items()]


def _sample(name: str, kind: str, labels: Labels, value: float) -> dict[str, object]:
    return {"name": name, "kind": kind, "labels": dict(labels), "value": value}


def helps() -> dict[str, str]:
    """Return the help of every metric."""
    own = {name: text for name, (_, text, _) in OWN.items()}
    return {**{family.name: family.help for family in FAMILIES}, **own}


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round(used.ru_utime + used.ru_stime, 3)


OWN: Mapping[str, tuple[str, str, Callable[[], float]]] = {
    "madang_supervisor_resident_memory_bytes": (
        "gauge", "Resident memory of the supervisor.", lambda: linux.rss_bytes(os.getpid()),
    ),
    "madang_supervisor_cpu_seconds_total": (
        "counter", "Processor time used by the supervisor.", _own_cpu_s,
    ),
}  # fmt: skip
