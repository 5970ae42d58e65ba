"""What can go wrong on the bus, sorted by what the caller may conclude.

BusError
├── NotDelivered      a definite no: no handler has seen it, it may be sent again
│   ├── NoServer        nobody serves the subject, or the link broke before a byte was handed over
│   └── Overloaded      the peer's queue or its share of open requests is full
├── OutcomeUnknown    it may have been handled: never send it again blindly
│   ├── PeerLost        the link broke, or the answer could not be carried
│   └── RequestTimeout
├── RequestRefused    the server said no
├── JobFailed         a job was rejected, or is dead after its last attempt
├── MessageTooLarge, InvalidSubject, AlreadyAnswered, BusClosed: misuse
└── LeaseTaken, LeaseDamaged
"""

from __future__ import annotations

from madang.core.errors import MadangError


class BusError(MadangError):
    """Root of this layer's errors."""


class NotDelivered(BusError):
    """The request was never delivered to a handler."""


class NoServer(NotDelivered):
    """Nobody serves the subject."""


class Overloaded(NotDelivered):
    """A bound is reached: bytes queued for the peer or requests open at it."""


class OutcomeUnknown(BusError):
    """The request may or may not have been handled."""


class PeerLost(OutcomeUnknown):
    """The link to the server broke while the request was open, or the answer was dropped."""


class RequestTimeout(OutcomeUnknown):
    """No answer came in time."""


class RequestRefused(BusError):
    """The server refused the request; `message` is its reason."""


class JobFailed(BusError):
    """A job was rejected by its handler, or died after its last attempt; `message` says why."""


class MessageTooLarge(BusError):
    """A payload is above the limit."""


class InvalidSubject(BusError):
    """A subject, pattern or name breaks the rules."""


class AlreadyAnswered(BusError):
    """A request was answered a second time."""


class BusClosed(BusError):
    """The bus was used after `close()`."""


class LeaseTaken(BusError):
    """Another process (or holder) has the lease."""


class LeaseDamaged(BusError):
    """A lease file holds no readable epoch; it is not safe to hand out a new one."""
