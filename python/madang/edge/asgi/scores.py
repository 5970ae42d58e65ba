"""The counters an ASGI process shows: written to the cluster's scoreboard where there is one."""

from __future__ import annotations

from typing import Any, Protocol, cast


class Scores(Protocol):
    """The cells of the scoreboard that this server fills; assigning is all there is."""

    connections: int
    websockets: int
    requests: int
    errors: int
    in_flight: int
    succeeded: int
    redirected: int
    refused: int
    outbox_bytes: int
    slow_consumers: int


class NullScores:
    """Cells that nobody reads."""

    connections = 0
    websockets = 0
    requests = 0
    errors = 0
    in_flight = 0
    succeeded = 0
    redirected = 0
    refused = 0
    outbox_bytes = 0
    slow_consumers = 0


def scores_of(process: object) -> Scores:
    """Return the scoreboard of `process`, or cells that nobody reads."""
    return cast("Scores", cast("Any", getattr(process, "scores", None)) or NullScores())
