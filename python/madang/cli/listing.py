"""`madang ls`: every instance in one table, and why what does not run does not.

Imports little on purpose, and no command line library: it answers in well under 300 ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from madang.cli.asking import ask, tell
from madang.cli.place import control_path

COLUMNS = (
    "name", "state", "pid", "gen", "up", "restarts", "cpu", "memory", "conns", "lag", "last exit",
    "status",
)  # fmt: skip
RIGHT = frozenset({"pid", "gen", "restarts", "cpu", "memory", "conns", "lag"})
MEGABYTE = 1_048_576
STATUS_CHARACTERS_MAX = 40


def list_instances(state: str | None, *, as_json: bool) -> int:
    """Print the instances; return the exit code."""
    return tell(lambda: ask(control_path(state), "ls"), as_json=as_json, render=table)


def table(answer: Mapping[str, Any]) -> str:
    """Return the answer to `ls` as a person reads it."""
    rows = answer["rows"]
    lines = [COLUMNS, *(cells(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(COLUMNS))]
    text = [_aligned(line, widths) for line in lines]
    if not rows:
        text = ["nothing is started: `madang start app:app`, `madang start worker.py`"]
    text += _last_words(rows)
    text += [line for line in map(_problem, answer["applications"]) if line]
    for operation in answer["operations"]:
        if operation["state"] == "running":
            step = operation["steps"][-1]["text"] if operation["steps"] else "begins"
            text.append(f"under way: {operation['kind']} {operation['name']}: {step}")
    text += _lost(answer["log"])
    return "\n".join(text)


def _last_words(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what those said last that do not run; what several said is shown once."""
    said: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["tail"]:
            said.setdefault((row["app"], *row["tail"]), []).append(row)
    lines: list[str] = []
    for (application, *tail), who in said.items():
        many = f"{application} ({len(who)} instances)"
        name = many if len(who) > 1 else who[0]["name"]
        lines += [f"{name} | {line}" for line in tail]
    return lines


def _lost(log: Mapping[str, Any]) -> list[str]:
    """Return what to say of output that could not be written."""
    if not log["dropped_lines"]:
        return []
    why = f": {log['problem']}" if log["problem"] else ", it is being written again"
    return [f"log: {log['dropped_lines']} lines of output were dropped{why}"]


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the table shows of one instance."""
    runs = row["pid"] is not None
    return (
        str(row["name"]),
        str(row["state"]),
        str(row["pid"] or "-"),
        str(row["generation"]),
        duration(int(row["uptime_s"])) if runs else "-",
        str(row["restarts"]),
        f"{row['cpu_percent']:.0f}%" if runs else "-",
        memory(int(row["rss"])) if runs else "-",
        str(row["connections"]) if runs else "-",
        f"{row['loop_lag_ms']:.0f} ms" if runs else "-",
        str(row["last_exit"] or "-"),
        str(row["status"])[:STATUS_CHARACTERS_MAX],
    )


def memory(size: int) -> str:
    """Return a size as "12.3 MB"."""
    return f"{size / MEGABYTE:.1f} MB"


def duration(seconds: int) -> str:
    """Return a time as "2d 3h"."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    shown = [f"{value}{unit}" for value, unit in parts if value]
    return " ".join(shown[:2]) or "0s"


def _problem(application: Mapping[str, Any]) -> str:
    if application["problem"]:
        return f"{application['name']}: the last reload failed: {application['problem']}"
    if not application["stopped"] and application["ready"] < application["wanted"]:
        ready, wanted = application["ready"], application["wanted"]
        return f"{application['name']}: {ready} of {wanted} instances are ready"
    return ""


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        text.rjust(width) if name in RIGHT else text.ljust(width)
        for name, text, width in zip(COLUMNS, line, widths, strict=True)
    )
    return "  ".join(padded).rstrip()
