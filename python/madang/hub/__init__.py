"""The connections of one worker: channels, outboxes, fan-out, history, presence.

For applications: `hub.endpoint`, `broadcast`, `send`, `presence` and `on_message` act on the one
session of a process (`application`), over the bus.
"""

from madang.hub.channel import Channel, Recovery
from madang.hub.connection import (
    Connection,
    Link,
    MobileSession,
    Session,
    TooManyChannelsError,
)
from madang.hub.feeder import Feeder, FeederSettings, Item, Page
from madang.hub.history import Position, Publication
from madang.hub.hub import Hub, HubFullError
from madang.hub.presence import PresenceTotals
from madang.hub.resuming import HistoryMissing, resume_channel
from madang.hub.roll_call import RollCall, RollCallSettings
from madang.hub.settings import ChannelKind, ChannelSettings, HubSettings, SlowPolicy
from madang.hub.state_channel import StateChannel, StateFullError

# Last: the function `presence` takes the name that the module of that name has until here.
from madang.hub.application import (  # isort: skip
    HubSession,
    broadcast,
    current,
    endpoint,
    on_connect,
    on_disconnect,
    on_message,
    on_resume,
    presence,
    send,
    session,
    set_state,
)
from madang.hub.client import Client  # isort: skip

__all__ = [
    "Channel",
    "ChannelKind",
    "ChannelSettings",
    "Client",
    "Connection",
    "Feeder",
    "FeederSettings",
    "HistoryMissing",
    "Hub",
    "HubFullError",
    "HubSession",
    "HubSettings",
    "Item",
    "Link",
    "MobileSession",
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
    "broadcast",
    "current",
    "endpoint",
    "on_connect",
    "on_disconnect",
    "on_message",
    "on_resume",
    "presence",
    "resume_channel",
    "send",
    "session",
    "set_state",
]
