"""What the operator is shown of applications and their children: plain JSON data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from madang.cluster import linux
from madang.cluster.application import Application, Child, Slot
from madang.cluster.entries import encode_application
from madang.cluster.policy import State

MASK = "•••"
UP = (State.READY, State.STALLED)


def rows(application: Application, now_ns: int) -> list[dict[str, object]]:
    """Return what `ls` shows: one row for each child, those of another generation included."""
    return [row(application, child, now_ns) for child in application.children()]


def row(application: Application, child: Child, now_ns: int) -> dict[str, object]:
    """Return what `ls` shows of one child."""
    instance = child.instance
    return {
        "app": application.name,
        "name": child.name,
        "pid": child.pid,
        "slot": child.slot.index,
        "generation": child.generation,
        "kind": str(application.settings.kind),
        "state": str(instance.state),
        "restarts": instance.restarts,
        "uptime_s": child.uptime_s(now_ns) if instance.state in UP else 0,
        "last_exit": instance.last_exit or _before(child),
        "status": child.status if child.pid is not None else "",
        "rss": linux.rss_bytes(child.pid) if child.pid is not None else 0,
        "cpu_percent": round(child.cpu_percent, 1),
        "connections": child.scores.connections,
        "loop_lag_ms": round(child.scores.loop_lag_us / 1_000, 1),
        "websockets": child.scores.websockets,
        "requests": child.scores.requests,
        "bus_sent": child.scores.bus_sent,
        "bus_received": child.scores.bus_received,
        "accepting": child.accepting,
        "tail": child.tail if instance.state is State.ERRORED else [],
    }


def _before(child: Child) -> str:
    """Return how the last process ended that had this slot with the same or older code."""
    exits = [
        str(exit["cause"])
        for exit in child.slot.causes
        if int(str(exit["generation"])) <= child.generation
    ]
    return exits[-1] if exits else ""


def summaries(applications: list[Application]) -> list[dict[str, object]]:
    """Return one line for each application."""
    return [
        {
            "name": application.name,
            "kind": str(application.settings.kind),
            "wanted": application.wanted,
            "ready": application.ready(),
            "generation": application.generation,
            "stopped": application.stopping,
            "balance": str(application.settings.balance),
            "addresses": {
                name: f"{host}:{port}" for name, (host, port) in application.addresses().items()
            },
            "problem": application.last_problem,
            "exclusive": application.settings.exclusive,
            "restarts": dict(application.restarts),
            "queued": sum(
                port.queued(slot.index) for port in application.ports for slot in application.slots
            ),
        }
        for application in applications
    ]


def describe(application: Application, slots: list[Slot], now_ns: int) -> dict[str, object]:
    """Return everything about an application or one of its instances."""
    settings = encode_application(application.settings)
    settings["environment"] = dict.fromkeys(application.settings.environment, MASK)
    limits = application.limits
    return {
        "application": summaries([application])[0],
        "settings": settings,
        "limits": {name: getattr(limits, name) for name in type(limits).__slots__},
        "shares": {str(slot): round(share, 4) for slot, share in application.shares.items()},
        "queued": {
            port.name: [port.queued(slot.index) for slot in application.slots]
            for port in application.ports
        },
        "instances": [
            {
                **row(application, child, now_ns),
                "causes": list(slot.causes),
                "scores": child.scores.table(),
            }
            for slot in slots
            for child in slot.children()
        ],
    }


def environment(application: Application, slot: Slot) -> Mapping[str, str]:
    """Return the environment that the process of `slot` was started with."""
    pid = slot.child.pid
    if pid is None:
        return dict(application.settings.environment)
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = os.fsdecode(file.read()).split("\0")
    except OSError:
        pairs = []
    found = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    # What a forked role was given came after its birth, which /proc does not show.
    return {**found, **application.settings.environment}


def dump(applications: list[Application]) -> list[dict[str, object]]:
    """Return entries that `start` would make the same applications from."""
    return [
        encode_application(replace(application.settings, instances=application.wanted))
        for application in applications
    ]
