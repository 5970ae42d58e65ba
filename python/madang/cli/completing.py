"""What the shell offers while a person types: names that are there, and signals.

Completion never complains: where nothing runs, or the folder cannot be read, it offers nothing.
"""

from __future__ import annotations

import signal
from typing import Any

from madang.cli.asking import ask
from madang.cli.place import control_path
from madang.core.errors import MadangError

Context = Any


def names(ctx: Context, incomplete: str) -> list[str]:
    """Return the applications, instances and "all" that begin so."""
    answer = _ls(ctx)
    found = [row["name"] for row in answer.get("rows", [])]
    return _fitting([*_applications(answer), *found, "all"], incomplete)


def applications(ctx: Context, incomplete: str) -> list[str]:
    """Return the applications that begin so."""
    return _fitting(_applications(_ls(ctx)), incomplete)


def signals(incomplete: str) -> list[str]:
    """Return the signals that begin so, without SIG in front."""
    found = [name.removeprefix("SIG") for name in signal.Signals.__members__]
    return _fitting(found, incomplete.upper().removeprefix("SIG"))


def _applications(answer: dict[str, Any]) -> list[str]:
    return [application["name"] for application in answer.get("applications", [])]


def _ls(ctx: Context) -> dict[str, Any]:
    try:
        return ask(control_path(ctx.params.get("state")), "ls")
    except (MadangError, OSError):
        return {}


def _fitting(found: list[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(found) if name.startswith(incomplete)]
