"""The connections of one worker: channels, outboxes, fan-out, history."""

from madang.hub.channel import Channel, Recovery
from madang.hub.connection import Connection, Link, Session, TooManyChannelsError
from madang.hub.history import Position, Publication
from madang.hub.hub import Hub, HubFullError
from madang.hub.settings import ChannelKind, ChannelSettings, HubSettings, SlowPolicy

__all__ = [
    "Channel",
    "ChannelKind",
    "ChannelSettings",
    "Connection",
    "Hub",
    "HubFullError",
    "HubSettings",
    "Link",
    "Position",
    "Publication",
    "Recovery",
    "Session",
    "SlowPolicy",
    "TooManyChannelsError",
]
