"""What can go wrong with the cluster as a whole; a child's failure is a state, not an exception."""

from __future__ import annotations

from madang.core.errors import MadangError


class ClusterError(MadangError):
    """Root of this layer's errors."""


class UnsupportedSystem(ClusterError):
    """This system lacks what the supervisor stands on (Linux)."""


class FolderTaken(ClusterError):
    """Another living supervisor holds this state or runtime folder."""


class PortTaken(ClusterError):
    """A public port cannot be bound."""


class NotRunning(ClusterError):
    """No supervisor answers on the control socket."""


class ControlRefused(ClusterError):
    """The supervisor refused a control command, or did not answer it in time."""


class SystemExhausted(ClusterError):
    """The system gives no more descriptors, memory or processes."""


class OperationRefused(ClusterError):
    """An operation cannot begin: the thing is unknown, or busy with another one."""
