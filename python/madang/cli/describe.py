"""`madang describe`: everything about an application or one of its instances."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from madang.cli.asking import ask, tell
from madang.cli.completing import names
from madang.cli.listing import duration, memory
from madang.cli.place import control_path

CAUSES_SHOWN = 10
NS_MS = 1_000_000


def describe(
    name: Annotated[str, typer.Argument(help="Application or instance.", autocompletion=names)],
    state: Annotated[str | None, typer.Option("--state", help="State folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show settings, limits, ports, instances, and why each of them was restarted.

    Example: madang describe web-0
    """
    path = control_path(state)
    code = tell(lambda: ask(path, "describe", name=name), as_json=as_json, render=text_of)
    raise typer.Exit(code)


def text_of(answer: Mapping[str, Any]) -> str:
    """Return the answer as a person reads it."""
    summary, settings = answer["application"], answer["settings"]
    lines = [f"{summary['name']} ({summary['kind']})"]
    words = " ".join([settings["target"], *settings["arguments"]])
    lines += _pairs(
        ("runs", words),
        ("in", settings["directory"]),
        ("instances", f"{summary['ready']} of {summary['wanted']} ready"),
        ("generation", summary["generation"]),
        ("balance", summary["balance"]),
        ("environment", ", ".join(sorted(settings["environment"])) or "-"),
        ("last problem", summary["problem"] or "-"),
    )
    lines += _pairs(*((f"port {n}", address) for n, address in summary["addresses"].items()))
    lines += _pairs(*((f"queued at {n}", counts) for n, counts in answer["queued"].items()))
    if answer["shares"]:
        shares = ", ".join(f"{slot}: {share:.1%}" for slot, share in answer["shares"].items())
        lines += _pairs(("shares", shares))
    lines.append("limits")
    lines += _pairs(*((n, _limit(n, value)) for n, value in answer["limits"].items()))
    skipped = {
        "name",
        "kind",
        "target",
        "arguments",
        "directory",
        "environment",
        "ports",
        "options",
    }
    lines.append("settings")
    lines += _pairs(
        *((n, v) for n, v in settings.items() if n not in skipped and v not in ("", None))
    )
    for instance in answer["instances"]:
        lines += _instance(instance)
    return "\n".join(lines)


def _instance(row: Mapping[str, Any]) -> list[str]:
    scores = ", ".join(f"{name} {value}" for name, value in row["scores"].items() if value)
    lines = [f"{row['name']} (generation {row['generation']})"]
    lines += _pairs(
        ("state", row["state"]),
        ("pid", row["pid"] or "-"),
        ("up", duration(int(row["uptime_s"]))),
        ("memory", memory(int(row["rss"]))),
        ("restarts", row["restarts"]),
        ("accepts", "yes" if row["accepting"] else "no"),
        ("counts", scores or "-"),
    )
    for cause in row["causes"][-CAUSES_SHOWN:]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(cause["at"]))
        lines += _pairs((f"ended {at}", f"{cause['cause']} (pid {cause['pid']})"))
    lines += [f"  | {line}" for line in row["tail"]]
    return lines


def _limit(name: str, value: int) -> str:
    return f"{value // NS_MS} ms" if name.endswith("_ns") else str(value)


def _pairs(*pairs: tuple[str, object]) -> list[str]:
    return [f"  {name.removesuffix('_ns'):<22} {value}" for name, value in pairs]
