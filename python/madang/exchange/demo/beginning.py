"""The demo's first start: its past is written in a process of its own, which then is gone."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

from madang.core.errors import MadangError
from madang.exchange.demo.people import load_or_invent
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.settings import VenueSettings


class NoHistoryError(MadangError):
    """The demo's past could not be written; what was wrong has been said."""


def is_new(state_dir: Path) -> bool:
    """Tell whether nothing has ever run on a state folder."""
    return not (state_dir / LOG_FOLDER).exists()


def write_history_aside(state_dir: Path, settings: VenueSettings) -> None:
    """Write the past of a new state folder; raises NoHistoryError.

    The caller becomes a supervisor, which is to hold no engine: so another process does it.
    """
    child = multiprocessing.get_context("fork").Process(target=_write, args=(state_dir, settings))
    child.start()
    child.join()
    if child.exitcode:
        raise NoHistoryError(f"{state_dir}: no history was written (exit {child.exitcode})")


def _write(state_dir: Path, settings: VenueSettings) -> None:
    from madang.exchange.demo.history import write_history

    write_history(state_dir, settings, load_or_invent(state_dir), time.time_ns())
