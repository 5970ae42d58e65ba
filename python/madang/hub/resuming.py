"""A connection of another worker joins an event channel here, with nothing missed or repeated."""

from __future__ import annotations

from madang.core.errors import MadangError
from madang.hub.channel import Channel
from madang.hub.connection import Connection
from madang.hub.history import Position


class HistoryMissing(MadangError):
    """This worker does not have everything that a client of another has not been sent."""


def resume_channel(connection: Connection, channel: Channel, at: Position) -> None:
    """Join where a client stood on another worker, which has settled; raises HistoryMissing."""
    since = channel.history.resume_from(at)
    if since is None:
        raise HistoryMissing(f"the history of {channel.name} does not reach back to the client")
    connection.subscribe(channel, since)
