"""Whether this machine takes new clients from its balancers: what the operator wants.

The wish is a small file in the state folder, so it outlives restarts; every worker reads it for
`/healthz`, the agent for HAProxy. `ready` takes all, `drain` keeps what it has and takes nothing
new, `maintenance` counts as down.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from madang.core.errors import MadangError

FILE: Final = "node.json"
WEIGHT_MAX_PERCENT: Final = 100


class NodeState(StrEnum):
    """What balancers are to do with this machine."""

    READY = "ready"
    DRAIN = "drain"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class NodeWish:
    """The operator's wish; `weight_percent` is this machine's share while it is ready."""

    state: NodeState = NodeState.READY
    weight_percent: int = WEIGHT_MAX_PERCENT


class NodeFileError(MadangError):
    """The file that holds the wish cannot be read or written."""


def read_wish(state_dir: Path) -> NodeWish:
    """Return the wish; without a file the machine is ready. Raises NodeFileError."""
    path = state_dir / FILE
    try:
        table = json.loads(path.read_text(encoding="ascii"))
        wish = NodeWish(NodeState(table["state"]), int(table["weight_percent"]))
    except FileNotFoundError:
        return NodeWish()
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"{path} is damaged; `madang balancer ready` writes it anew"
        raise NodeFileError(text, path=str(path)) from error
    return wish


def write_wish(state_dir: Path, wish: NodeWish) -> None:
    """Replace the wish, whole or not at all. Raises NodeFileError."""
    path = state_dir / FILE
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        draft.write_text(
            json.dumps({"state": str(wish.state), "weight_percent": wish.weight_percent}),
            encoding="ascii",
        )
        draft.replace(path)
    except OSError as error:
        raise NodeFileError(f"cannot write {path}: {error.strerror}", path=str(path)) from error


class NodeWatch:
    """The wish as a process sees it: the file is read again only when it has changed."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._seen: tuple[int, int] | None = None
        self._wish = NodeWish()

    def wish(self) -> NodeWish:
        """Return the present wish; a damaged file leaves the last one standing."""
        try:
            found = (self._state_dir / FILE).stat()
        except OSError:
            self._seen, self._wish = None, NodeWish()
            return self._wish
        seen = (found.st_mtime_ns, found.st_ino)
        if seen != self._seen:
            self._seen = seen
            with suppress(NodeFileError):
                self._wish = read_wish(self._state_dir)
        return self._wish
