"""What `madang monit` shows of the supervisor's answers. Pure: answers and time in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from madang.cli.listing import duration, memory

COLUMNS = (
    ("name", 14), ("state", 9), ("pid", 8), ("up", 8), ("rst", 4), ("cpu", 5), ("memory", 10),
    ("conns", 6), ("lag", 7), ("msg/s", 8),
)  # fmt: skip
"""Names and widths; together less than a terminal of 80 columns."""
MESSAGES = ("requests", "bus_sent", "bus_received")


@dataclass(slots=True)
class Rates:
    """Messages a second by instance, from counters that are looked at now and then."""

    _counts: dict[tuple[str, str], float] = field(default_factory=dict)
    _at_s: float = 0.0

    def update(self, rows: Sequence[Mapping[str, Any]], now_s: float) -> dict[str, float]:
        """Return what came since the last call: requests, and messages on the bus, a second.

        `rows` are those of `ls`.
        """
        counts: dict[tuple[str, str], float] = {}
        for row in rows:
            key = (str(row["name"]), str(row["generation"]))
            counts[key] = sum(float(row[what]) for what in MESSAGES)
        span_s = now_s - self._at_s
        rates: dict[str, float] = {}
        for key, count in counts.items():
            if key in self._counts and span_s > 0:
                # A process that was replaced counts from zero again: that is no negative rate.
                grown = max(0.0, count - self._counts[key]) / span_s
                rates[key[0]] = rates.get(key[0], 0) + grown
        self._counts, self._at_s = counts, now_s
        return rates


def cells(row: Mapping[str, Any], rate: float | None) -> tuple[str, ...]:
    """Return the cells of one instance, each as wide as its column."""
    runs = row["pid"] is not None
    texts = (
        str(row["name"]),
        str(row["state"]),
        str(row["pid"] or "-"),
        duration(int(row["uptime_s"])) if runs else "-",
        str(row["restarts"]),
        f"{row['cpu_percent']:.0f}%" if runs else "-",
        memory(int(row["rss"])) if runs else "-",
        str(row["connections"]) if runs else "-",
        f"{row['loop_lag_ms']:.0f} ms" if runs else "-",
        "-" if rate is None else f"{rate:.0f}",
    )
    return tuple(_fit(text, index) for index, text in enumerate(texts))


def _fit(text: str, index: int) -> str:
    width = COLUMNS[index][1] - 1
    cut = text if len(text) <= width else text[: width - 1] + "…"
    return cut.ljust(width) + " " if index < 2 else cut.rjust(width) + " "


def summary(answer: Mapping[str, Any], rates: Mapping[str, float]) -> str:
    """Return the line above the table."""
    rows = answer["rows"]
    ready = sum(row["state"] == "ready" for row in rows)
    cpu = sum(row["cpu_percent"] for row in rows)
    rss = sum(int(row["rss"]) for row in rows)
    return (
        f"{ready}/{len(rows)} ready  cpu {cpu:.0f}%  memory {memory(rss)}  "
        f"conns {sum(row['connections'] for row in rows)}  {sum(rates.values()):.0f} msg/s  "
        f"supervisor {memory(int(answer['rss']))}"
    )


def problems(answer: Mapping[str, Any]) -> str:
    """Return why something is not as it should be, "" when all is well."""
    for row in answer["rows"]:
        if row["state"] in ("errored", "backoff"):
            return f"{row['name']} is {row['state']}: {row['last_exit']}"
    for application in answer["applications"]:
        if application["problem"]:
            first = str(application["problem"]).splitlines()[0]
            return f"{application['name']}: the last reload failed: {first}"
    return ""
