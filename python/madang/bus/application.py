"""The bus as an application has it: functions of the package, one session for each process.

Declarations (subscribe, serve, work) may be made at import, before there is a session, and also
before a fork: they are recorded and take effect in every session. Invariant: a session belongs to
the process and the loop that opened it, and nothing acts on a bus that is not open.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, overload

from madang.bus import handlers, values
from madang.bus.errors import BusError, MessageTooLarge
from madang.bus.memory import memory_bus_hub
from madang.bus.port import Bus
from madang.bus.port import Submission as PortSubmission
from madang.bus.port import Subscription as PortSubscription
from madang.bus.settings import BusSettings
from madang.bus.unix import open_unix_bus
from madang.core import log
from madang.wire.busframes import PAYLOAD_BYTES_MAX

BUS_FOLDER: Final = "bus"
RUNTIME_VARIABLE: Final = "MADANG_RUNTIME_DIR"
NAME_VARIABLE: Final = "MADANG_NAME"
DRAIN_TIMEOUT_MS: Final = 5_000
NAME_CHARACTERS_MAX: Final = 48

Handler = TypeVar("Handler", bound=Callable[..., Any])
Register = Callable[[Bus, handlers.Tasks], PortSubscription]


class BusNotOpen(BusError):
    """A call before the process has joined the bus, or after it has left."""


class Member(Protocol):
    """What a session needs to know of its process; the runner's `process` has it."""

    @property
    def name(self) -> str:
        """Return the instance's name."""
        ...

    @property
    def runtime_dir(self) -> Path:
        """Return the cluster's runtime folder."""
        ...


class Declaration:
    """A handler of this process; it is registered whenever a session is open."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._registration: PortSubscription | None = None
        _declarations[self] = None
        if _session is not None:
            self.begin(_session)

    def begin(self, session: Session) -> None:
        """Register with a session."""
        self._registration = self._register(session.bus, session.tasks)

    def end(self) -> None:
        """Withdraw from a session."""
        if self._registration is not None:
            self._registration.close()
            self._registration = None

    def close(self) -> None:
        """End it for good."""
        _declarations.pop(self, None)
        self.end()


class Session:
    """The membership of one process."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.tasks = handlers.Tasks()
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.process = os.getpid()
        self.endings: list[Callable[[], None]] = []  # called before the bus is left


_declarations: dict[Declaration, None] = {}
_session: Session | None = None


def current() -> Session:
    """Return the open session of this process; raise BusNotOpen."""
    if _session is None or _session.process != os.getpid():
        raise BusNotOpen(
            "the bus is not open here: call it from a handler, a lifespan or a task of an "
            "application under `madang start`, end a script with bus.run(), or use "
            "`async with bus.session():`"
        )
    return _session


@asynccontextmanager
async def session(process: Member | None = None) -> AsyncIterator[Bus]:
    """Join the bus, with every declaration; leave it at the end, after handlers have finished.

    Without `process` the environment says which cluster this is; where it says nothing, the bus
    is that of this process alone. Raises BusError where a session is open.
    """
    global _session
    if _session is not None and _session.process == os.getpid():
        raise BusError("the bus of this process is open")
    opened = Session(await _open(process))
    _session = opened
    try:
        for declaration in list(_declarations):
            declaration.begin(opened)
        yield opened.bus
    finally:
        for declaration in list(_declarations):
            declaration.end()
        await opened.tasks.finish(DRAIN_TIMEOUT_MS)
        for ending in opened.endings:
            ending()
        _session = None
        await opened.bus.close()


async def _open(process: Member | None) -> Bus:
    runtime = os.environ.get(RUNTIME_VARIABLE)
    if process is not None:
        name, folder = process.name, process.runtime_dir
    elif runtime:
        name, folder = os.environ.get(NAME_VARIABLE, "script"), Path(runtime)
    else:
        log.get("bus").info("no cluster: the bus reaches this process only")
        return memory_bus_hub().open(_unique("alone"))
    return await open_unix_bus(BusSettings(_unique(name), folder / BUS_FOLDER))


def _unique(name: str) -> str:
    """Return a name that two generations of one instance, both alive at a reload, do not share."""
    return f"{name[:NAME_CHARACTERS_MAX]}.{os.getpid()}"


# -- calls


def publish(subject: str, payload: object) -> None:
    """Send to every process that subscribes; never waits. May be called from any thread.

    Raises BusNotOpen, NotJson, MessageTooLarge, InvalidSubject.
    """
    opened = current()
    _check_own(subject)
    encoded = values.encode(payload)
    if len(encoded) > PAYLOAD_BYTES_MAX:
        raise MessageTooLarge(f"payload of {len(encoded)} bytes", limit=PAYLOAD_BYTES_MAX)
    on_loop(opened.bus.publish, subject, encoded)


def on_loop(act: Callable[..., None], *arguments: object) -> None:
    """Call `act` on the session's loop: now, or soon where this is another thread."""
    opened = current()
    if threading.get_ident() == opened.thread:
        act(*arguments)
    else:
        opened.loop.call_soon_threadsafe(act, *arguments)


async def request(subject: str, payload: object = None, timeout_ms: int = 5_000) -> Any:  # noqa: ANN401
    """Ask one process that serves the subject and return its answer.

    Raises NoServer, Overloaded (nobody has seen it), PeerLost, RequestTimeout (nobody knows),
    RequestRefused (the handler's words).
    """
    _check_own(subject)
    answer = await current().bus.request(subject, values.encode(payload), timeout_ms)
    return values.decode(answer)


class Submission:
    """A job that was accepted."""

    __slots__ = ("_submission", "id")

    def __init__(self, submission: PortSubmission) -> None:
        self.id = submission.id
        self._submission = submission

    async def result(self, timeout_s: float = 60.0) -> Any:  # noqa: ANN401 - the handler's own
        """Return what the handler returned (None: nothing); raises JobFailed, RequestTimeout."""
        data = await self._submission.result(int(timeout_s * 1000))
        return values.decode(data) if data else None


async def submit(subject: str, payload: object = None) -> Submission:
    """Have a job done by one free worker; returns when it is accepted.

    Raises Overloaded, NoServer (it was not accepted), OutcomeUnknown, MessageTooLarge.
    """
    _check_own(subject)
    return Submission(await current().bus.submit(subject, values.encode(payload)))


# -- declarations


@overload
def subscribe(
    pattern: str, *, on_gap: handlers.GapHandler | None = ..., raw: bool = ...
) -> Callable[[Handler], Handler]: ...
@overload
def subscribe(
    pattern: str,
    handler: handlers.MessageHandler,
    *,
    on_gap: handlers.GapHandler | None = ...,
    raw: bool = ...,
) -> Declaration: ...
def subscribe(
    pattern: str,
    handler: handlers.MessageHandler | None = None,
    *,
    on_gap: handlers.GapHandler | None = None,
    raw: bool = False,
) -> Any:
    """Call a handler with each message (`subject`, `payload`, `peer`) that matches the pattern.

    `raw`: payloads are the bytes as they came, for subjects whose senders use no JSON.
    """

    def declare(function: handlers.MessageHandler) -> Declaration:
        return Declaration(
            lambda bus, tasks: handlers.MessageRunner(function, on_gap, tasks).subscribe(
                bus, pattern, raw
            )
        )

    return _decorate(declare, handler)


@overload
def serve(subject: str) -> Callable[[Handler], Handler]: ...
@overload
def serve(subject: str, handler: handlers.MessageHandler) -> Declaration: ...
def serve(subject: str, handler: handlers.MessageHandler | None = None) -> Any:
    """Answer `request` on a subject with what the handler returns."""
    _check_own(subject)

    def declare(function: handlers.MessageHandler) -> Declaration:
        return Declaration(lambda bus, tasks: handlers.serve(bus, subject, function, tasks))

    return _decorate(declare, handler)


@overload
def work(subject: str, *, at_once: int = ...) -> Callable[[Handler], Handler]: ...
@overload
def work(subject: str, handler: handlers.JobHandler, *, at_once: int = ...) -> Declaration: ...
def work(subject: str, handler: handlers.JobHandler | None = None, *, at_once: int = 1) -> Any:
    """Do jobs of a subject, at most `at_once` at a time in this process."""
    _check_own(subject)
    if at_once < 1:
        raise BusError("at_once is at least 1", at_once=at_once)

    def declare(function: handlers.JobHandler) -> Declaration:
        return Declaration(
            lambda bus, tasks: handlers.JobRunner(function, at_once, tasks).work(bus, subject)
        )

    return _decorate(declare, handler)


def _decorate(declare: Callable[[Any], Declaration], handler: Any) -> Any:  # noqa: ANN401
    if handler is not None:
        return declare(handler)

    def decorate(function: Handler) -> Handler:
        declare(function)
        return function

    return decorate


def _check_own(subject: str) -> None:
    if subject.startswith("_"):
        raise BusError("subjects that begin with _ belong to Madang", subject=subject)
