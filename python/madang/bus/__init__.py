"""Messages, requests and leases between processes.

`port` says what a bus promises, `unix` and `memory` are its adapters, `lease` the ownership of a
name, `workshare` jobs for free workers. For applications: `bus.publish`, `subscribe`, `request`,
`serve`, `submit`, `work` act on the one session of a process (`application`). Invariant: below
that, nothing knows what a payload means and nothing is global: a forked process opens its own.
"""

from madang.bus.application import (
    BusNotOpen,
    Declaration,
    publish,
    request,
    serve,
    session,
    submit,
    subscribe,
    work,
)
from madang.bus.errors import (
    BusError,
    JobFailed,
    MessageTooLarge,
    NoServer,
    NotDelivered,
    OutcomeUnknown,
    Overloaded,
    PeerLost,
    RequestRefused,
    RequestTimeout,
)
from madang.bus.handlers import Job, Received, Reject
from madang.bus.memory import MemoryHub, memory_bus_hub
from madang.bus.port import (
    UNKNOWN_LOSS,
    Assignment,
    Bus,
    Gap,
    Message,
    Request,
    Submission,
    Subscription,
)
from madang.bus.script import run
from madang.bus.settings import BusLimits, BusSettings, WorkLimits
from madang.bus.unix import open_unix_bus

__all__ = [
    "UNKNOWN_LOSS",
    "Assignment",
    "Bus",
    "BusError",
    "BusLimits",
    "BusNotOpen",
    "BusSettings",
    "Declaration",
    "Gap",
    "Job",
    "JobFailed",
    "MemoryHub",
    "Message",
    "MessageTooLarge",
    "NoServer",
    "NotDelivered",
    "OutcomeUnknown",
    "Overloaded",
    "PeerLost",
    "Received",
    "Reject",
    "Request",
    "RequestRefused",
    "RequestTimeout",
    "Submission",
    "Subscription",
    "WorkLimits",
    "memory_bus_hub",
    "open_unix_bus",
    "publish",
    "request",
    "run",
    "serve",
    "session",
    "submit",
    "subscribe",
    "work",
]
