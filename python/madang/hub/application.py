"""The hub as an application has it: functions of the package, one session for each process.

Endpoints and handlers are declared at import; a session brings them to life on the process's bus.
Invariant: a broadcast goes to each worker once, and there to the clients of its channel, encoded
once. Workers without a listener to a channel get none of its messages, but for the channels
that endpoints name: those are followed always, so that a client can resume anywhere.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypedDict, TypeVar, Unpack

import msgspec

from madang.bus import Bus
from madang.bus import application as bus_application
from madang.bus.values import NotJson
from madang.core import log
from madang.core.errors import MadangError
from madang.hub.channel import Channel
from madang.hub.client import Client
from madang.hub.connection import Connection
from madang.hub.direct import Direct
from madang.hub.endpoint import (
    Authorize,
    ClientSession,
    Endpoint,
    Handshake,
    MayJoin,
    thaw_session,
)
from madang.hub.following import Follower, StateFollower
from madang.hub.history import Position
from madang.hub.hub import Hub
from madang.hub.lines import HISTORY_COUNT_MAX
from madang.hub.numbering import Numbering, check_channel
from madang.hub.roll_call import RollCall
from madang.hub.settings import ChannelSettings

GROUP: Final = "application"
FIRST_ANSWERS_S: Final = 0.2
MOVING_COUNT_MIN: Final = 100
"""So many messages are kept whatever an endpoint says: a client that moves may have missed them."""

Handler = TypeVar("Handler", bound=Callable[..., Any])


class _Declared:
    """What the program has declared."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.on_message: list[Callable[[Client, Any], Any]] = []
        self.on_connect: list[Callable[[Client], Any]] = []
        self.on_disconnect: list[Callable[[Client], Any]] = []
        self.on_resume: list[Callable[[Client], Any]] = []


_declared = _Declared()
_open: HubSession | None = None


class EndpointOptions(TypedDict, total=False):
    """The options of `endpoint`."""

    authorize: Authorize | None
    may_join: MayJoin | None
    states: tuple[str, ...]
    origins: tuple[str, ...]
    history: int


class HubSession:
    """The clients of one worker; `serves` is False where it only sends."""

    def __init__(self, bus: Bus, hub: Hub, *, serves: bool) -> None:
        self.hub = hub
        self.numbering = Numbering(bus)
        self._bus = bus
        self._followers: dict[str, Follower] = {}
        self._watchers: dict[str, StateFollower] = {}
        self._sessions: dict[str, ClientSession] = {}
        self._named: set[str] = set()
        self._giving = False
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._roll_call = RollCall(bus, hub, GROUP)
        self._direct = Direct(bus)
        self._opened_s = asyncio.get_running_loop().time()
        for declared in _declared.endpoints.values() if serves else ():
            for channel in declared.channels:
                self._named.add(channel)
                self.follow(channel, declared.history)
            for channel in declared.states:
                self.watch(channel)

    def connect(
        self, declared: Endpoint, connection: Connection, handshake: Handshake
    ) -> ClientSession:
        """Take a new connection; the edge calls this."""
        self._next += 1
        return ClientSession(
            declared, self, connection, handshake, f"{self._bus.name}:{self._next}"
        )

    # -- Owner of the sessions

    def begin(self, session: ClientSession) -> None:
        """See `Owner`."""
        self._sessions[session.client.id] = session
        self._direct.enter(session.client.id, session.tell, session.heard)
        for handler in _declared.on_connect:
            self._call(handler, session.client)

    def resume(self, session: ClientSession) -> None:
        """See `Owner`."""
        self._sessions[session.client.id] = session
        self._direct.enter(session.client.id, session.tell, session.heard)

    def resumed(self, session: ClientSession) -> None:
        """See `Owner`."""
        for handler in _declared.on_resume:
            self._call(handler, session.client)

    def hold(self, session: ClientSession) -> None:
        """See `Owner`."""
        self._sessions.pop(session.client.id, None)
        self._direct.hold(session.client.id)

    def moved(self, session: ClientSession, worker: str) -> None:
        """See `Owner`."""
        self._direct.moved(session.client.id, worker)

    def forget(self, session: ClientSession) -> None:
        """See `Owner`."""
        self._sessions.pop(session.client.id, None)
        self._direct.leave(session.client.id)

    def end(self, session: ClientSession) -> None:
        """See `Owner`."""
        if self._sessions.pop(session.client.id, None) is not None:
            self._direct.leave(session.client.id)
            for handler in _declared.on_disconnect:
                self._call(handler, session.client)

    def follow(self, channel: str, history: int) -> Follower:
        """See `Owner`."""
        found = self._followers.get(channel)
        if found is None:
            if channel in self._watchers:
                raise MadangError(f"channel {channel} is of the other kind")
            settings = ChannelSettings(history_count_max=max(history, MOVING_COUNT_MIN))
            joined = self.hub.channel(channel, settings)
            joined.on_last = self._left
            try:
                found = Follower(self._bus, self.numbering, joined)
            except MadangError:
                self.hub.drop(channel)
                raise
            self._followers[channel] = found
        return found

    def watch(self, channel: str) -> StateFollower:
        """See `Owner`."""
        found = self._watchers.get(channel)
        if found is None:
            state = self.hub.state_channel(channel)
            found = self._watchers[channel] = StateFollower(self._bus, self.numbering, state)
        return found

    def let_go(self, follower: Follower) -> None:
        """See `Owner`."""
        if not follower.channel.subscribers:
            self._left(follower.channel)

    def _left(self, channel: Channel) -> None:
        follower = self._followers.get(channel.name)
        if follower is None or follower.channel is not channel or follower.joining:
            return
        if channel.name not in self._named and not self._giving:
            del self._followers[channel.name]
            follower.close()
            self.hub.drop(channel.name)

    async def said(self, session: ClientSession, data: object) -> None:
        """See `Owner`."""
        for handler in _declared.on_message:
            outcome = handler(session.client, data)
            if inspect.isawaitable(outcome):
                await outcome

    def _call(self, handler: Callable[[Client], Any], client: Client) -> None:
        async def run() -> None:
            try:
                outcome = handler(client)
                if inspect.isawaitable(outcome):
                    await outcome
            except Exception:  # noqa: BLE001 - one handler must not end a connection
                log.get("hub").exception("handler failed", client=client.id)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- handing clients over

    @property
    def name(self) -> str:
        """Name of this worker on the bus."""
        return self._bus.name

    def give(self) -> list[str]:
        """Begin to give clients away; returns the channels whose history the taker needs."""
        self._giving = True
        return [*self._followers, *self._watchers]

    async def warm(self, giver: str, channels: list[str]) -> None:
        """Follow what the clients of another worker listen to, and hear what is sent to them."""
        self._direct.stand_in(giver)
        wanted = [name for name in channels if name not in self._watchers]
        for follower in (*self._followers.values(), *self._watchers.values()):
            with suppress(MadangError):  # only the clients of that channel cannot come
                await follower.ready()
        for channel in wanted:
            with suppress(MadangError):
                await self.follow(channel, HISTORY_COUNT_MAX).ready()

    async def settle(self) -> None:
        """Nothing to wait for: what is numbered has a position, so no order of arrival matters."""

    def moving_ended(self) -> None:
        """Let go what was followed for the move alone."""
        self._giving = False
        for follower in list(self._followers.values()):
            if not follower.channel.subscribers:
                self._left(follower.channel)

    async def thaw(
        self, declared: Endpoint, connection: Connection, frozen: bytes
    ) -> ClientSession:
        """Take up a client as another worker froze it; the edge calls this. Raises MadangError."""
        return await thaw_session(declared, self, connection, frozen)

    # -- what applications ask for

    def deliver(self, id: str, data: bytes) -> None:
        """Send to a client of any worker; one that is gone is nobody's."""
        self._direct.send(id, data)

    async def total(self, channel: str) -> int:
        """Return how many clients of all workers listen; waits for the first answers of others."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._opened_s + FIRST_ANSWERS_S - loop.time()))
        self._roll_call.tell()
        return self._roll_call.total(channel)

    def close(self) -> None:
        """Leave in order."""
        self._roll_call.close()
        self._direct.close()
        for follower in (*self._followers.values(), *self._watchers.values()):
            follower.close()
        for task in self._tasks:
            task.cancel()
        self.numbering.close()


@asynccontextmanager
async def session(hub: Hub | None = None) -> AsyncIterator[HubSession]:
    """Serve the declared endpoints inside the process's bus session; the runner calls this."""
    global _open
    bus = bus_application.current().bus
    if _open is not None:
        raise MadangError("the hub of this process is open")
    opened = _open = HubSession(bus, hub or Hub(), serves=True)
    try:
        yield opened
    finally:
        _close()


def endpoints() -> tuple[Endpoint, ...]:
    """Return what is declared; the edge serves it."""
    return tuple(_declared.endpoints.values())


def current() -> HubSession:
    """Return the open session; one for sending only where this process serves no clients.

    Raises BusNotOpen.
    """
    global _open
    member = bus_application.current()
    if _open is None:
        _open = HubSession(member.bus, Hub(), serves=False)
        member.endings.append(_close)
    return _open


def _close() -> None:
    global _open
    if _open is not None:
        _open.close()
        _open = None


# -- declarations


def endpoint(
    path: str,
    channels: tuple[str, ...] = (),
    allow: tuple[str, ...] = (),
    **options: Unpack[EndpointOptions],
) -> None:
    """Let WebSocket clients connect at `path`.

    `channels` are joined by everybody; those that match `allow` when a client asks. Options:
    `authorize(request)` returns who it is (None: refused); `may_join(client, channel)`; both may
    be async. `states`: state channels, joined by everybody (see `set_state`).
    `origins`: sites whose pages may connect beside our own, "*" for all. `history`: how
    many messages of each channel are kept for who resumes.
    """
    known = EndpointOptions.__annotations__.keys()
    if unknown := options.keys() - known:
        raise TypeError(f"hub.endpoint() has no option {', '.join(sorted(unknown))}")
    if not path.startswith("/"):
        raise MadangError("an endpoint's path begins with /", path=path)
    states = tuple(options.get("states", ()))
    for channel in (*channels, *states):
        check_channel(channel)
    history = options.get("history", HISTORY_COUNT_MAX)
    if not 0 <= history <= HISTORY_COUNT_MAX:
        raise MadangError(f"history is 0 to {HISTORY_COUNT_MAX}", history=history)
    declared = Endpoint(
        path,
        tuple(channels),
        tuple(allow),
        options.get("authorize"),
        options.get("may_join"),
        tuple(options.get("origins", ())),
        history,
        states,
    )
    declared.offers("a")  # raises where a pattern is none
    _declared.endpoints[path] = declared


def on_message(handler: Handler) -> Handler:
    """Call `handler(client, data)` with what clients say, one message of a client at a time."""
    _declared.on_message.append(handler)
    return handler


def on_connect(handler: Handler) -> Handler:
    """Call `handler(client)` when a client has connected and is authorized."""
    _declared.on_connect.append(handler)
    return handler


def on_resume(handler: Handler) -> Handler:
    """Call `handler(client)` when a client has come from another process, as at a reload.

    It is the same client with the same id: neither `on_disconnect` there nor `on_connect` here
    was called.
    """
    _declared.on_resume.append(handler)
    return handler


def on_disconnect(handler: Handler) -> Handler:
    """Call `handler(client)` when a client is gone."""
    _declared.on_disconnect.append(handler)
    return handler


# -- calls


async def broadcast(channel: str, message: object) -> Position:
    """Send to every client of a channel, on every worker; returns the message's position.

    Raises NotJson, MessageTooLarge, NoServer (it was not sent), OutcomeUnknown, BusNotOpen.
    """
    return await current().numbering.broadcast(channel, _encode(message))


async def set_state(channel: str, key: str, value: object) -> Position:
    """Set the newest of a key of a state channel: who joins gets the newest of every key.

    A slow client gets only the newest of each key that changed. Raises as `broadcast`, and
    RequestRefused where the channel is full.
    """
    return await current().numbering.set(channel, key, _encode(value))


def send(client: Client | str, message: object) -> None:
    """Send to one client, by its id also where another worker has it; never waits.

    One that is gone gets nothing.
    """
    opened, data = current(), _encode(message)
    id = client if isinstance(client, str) else client.id
    bus_application.on_loop(opened.deliver, id, data)


async def presence(channel: str) -> int:
    """Return how many clients of all workers listen to a channel, as of a tenth of a second ago."""
    return await current().total(channel)


def _encode(message: object) -> bytes:
    try:
        return msgspec.json.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise NotJson(f"a message is what JSON can say: {error}") from None
