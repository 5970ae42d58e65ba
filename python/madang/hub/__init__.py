"""The connections of one worker: channels, outboxes, fan-out, history."""

from madang.hub.channel import Channel, Recovery
from madang.hub.connection import Connection, Link, Session, TooManyChannelsError
from madang.hub.feeder import Feeder, FeederSettings, Item, Page
from madang.hub.history import Position, Publication
from madang.hub.hub import Hub, HubFullError
from madang.hub.presence import PresenceTotals
from madang.hub.roll_call import RollCall, RollCallSettings
from madang.hub.settings import ChannelKind, ChannelSettings, HubSettings, SlowPolicy
from madang.hub.state_channel import StateChannel, StateFullError

__all__ = [
    "Channel",
    "ChannelKind",
    "ChannelSettings",
    "Connection",
    "Feeder",
    "FeederSettings",
    "Hub",
    "HubFullError",
    "HubSettings",
    "Item",
    "Link",
    "Page",
    "Position",
    "PresenceTotals",
    "Publication",
    "Recovery",
    "RollCall",
    "RollCallSettings",
    "Session",
    "SlowPolicy",
    "StateChannel",
    "StateFullError",
    "TooManyChannelsError",
]
