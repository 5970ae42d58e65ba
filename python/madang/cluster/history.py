"""The last hour of every application in figures, kept by the supervisor: it outlives its workers.

A point is made of PERIOD_S looks, one a second: of lag and processor time the most, of everything
else the last. Points are numbered from 0; a missing one is None. A ring of plain doubles for each
application: an hour of ten applications is a quarter of a megabyte.
"""

from __future__ import annotations

import math
import time
from array import array
from base64 import b64decode, b64encode
from collections.abc import Sequence

from madang.cluster.application import Application
from madang.cluster.handles import Share

PERIOD_S = 10
POINTS = 360
FIELDS = (
    "ready",
    "cpu_percent",
    "rss",
    "connections",
    "websockets",
    "lag_ms",
    "requests",
    "errors",
    "restarts",
)
"""The last three count up from the start of the application."""
HIGHEST = frozenset((FIELDS.index("cpu_percent"), FIELDS.index("lag_ms")))
MISSING = math.nan


def look(application: Application) -> list[float]:
    """Return the present figures of one application."""
    children = application.children()
    totals = application.totals()
    return [
        application.ready(),
        round(sum(child.cpu_percent for child in children), 1),
        sum(child.rss for child in children),
        sum(child.scores.connections for child in children),
        sum(child.scores.websockets for child in children),
        max((child.scores.loop_lag_us / 1_000 for child in children), default=0.0),
        totals["requests"],
        totals["errors"],
        sum(application.restarts.values()),
    ]


class History:
    """Rings of figures by application."""

    def __init__(self) -> None:
        self.next = 0
        self._looks = 0
        self._rings: dict[str, array[float]] = {}
        self._coming: dict[str, list[float]] = {}

    def leave(self) -> Share:
        """Return all of it, for a successor."""
        return {
            "next": self.next,
            "looks": self._looks,
            "coming": self._coming,
            "rings": {
                name: b64encode(ring.tobytes()).decode() for name, ring in self._rings.items()
            },
        }

    def take_over(self, share: Share) -> None:
        """Go on with what another of us left, where its code kept the same figures."""
        rings = {name: array("d", b64decode(ring)) for name, ring in share["rings"].items()}
        if all(len(ring) == POINTS * len(FIELDS) for ring in rings.values()):
            self.next, self._looks = share["next"], share["looks"]
            self._coming, self._rings = dict(share["coming"]), rings

    def add(self, applications: Sequence[Application]) -> None:
        """Take a look; each PERIOD_S-th completes a point."""
        self.take({application.name: look(application) for application in applications})

    def take(self, figures: dict[str, list[float]]) -> None:
        """As `add`, with the figures themselves."""
        for name, found in figures.items():
            before = self._coming.get(name, found)
            self._coming[name] = [
                max(old, new) if index in HIGHEST else new
                for index, (old, new) in enumerate(zip(before, found, strict=True))
            ]
        self._looks += 1
        if self._looks % PERIOD_S == 0:
            self._complete(frozenset(figures))

    def _complete(self, present: frozenset[str]) -> None:
        width = len(FIELDS)
        at = self.next % POINTS * width
        for name in present - self._rings.keys():
            self._rings[name] = array("d", [MISSING]) * (POINTS * width)
        for name, ring in list(self._rings.items()):
            point = self._coming[name] if name in present else [MISSING] * width
            ring[at : at + width] = array("d", point)
            if name not in present and all(map(math.isnan, ring)):
                del self._rings[name]
        self._coming.clear()
        self.next += 1

    def answer(self, after: object = None) -> dict[str, object]:
        """Return the points from number `after` on, all without it.

        `applications` has a list of values for each field, the last point last.
        """
        first = max(0, self.next - POINTS)
        if isinstance(after, int) and first < after <= self.next:
            first = after
        numbers = range(first, self.next)
        return {
            "period_s": PERIOD_S,
            "first": first,
            "next": self.next,
            "at": int(time.time()),
            "applications": {
                name: {
                    field: [_plain(ring[n % POINTS * len(FIELDS) + index]) for n in numbers]
                    for index, field in enumerate(FIELDS)
                }
                for name, ring in self._rings.items()
            },
        }


def _plain(value: float) -> float | None:
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else round(value, 2)
