"""The fast engine: `madang_core`, compiled from crates/engine, behind the same port.

Nothing is decided here; only damage in a snapshot is told in this package's own words.
"""

from __future__ import annotations

import madang_core

from madang.exchange.engine.port import Engine
from madang.exchange.engine.snapshot import SnapshotError


def create() -> Engine:
    """Return an empty engine."""
    return madang_core.Engine()


def restore(snapshot: bytes) -> Engine:
    """Return an engine in the state of a snapshot; SnapshotError when the bytes are damaged."""
    try:
        return madang_core.Engine.restore(snapshot)
    except ValueError as error:
        raise SnapshotError(f"damaged snapshot: {error}") from error
