"""A WebSocket endpoint of an application: who may connect, and what one client says and hears.

The protocol is JSON text, described in docs/guide/talking.md. Invariant: what a client is and has
joined is plain data (`Client`), so that it can be moved; nothing of a client is served before it
was authorized; what waits of one client is bounded.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from madang.bus.subjects import SubjectTable
from madang.core import log
from madang.core.closecodes import CloseCode
from madang.core.errors import MadangError
from madang.hub.channel import Channel
from madang.hub.client import Client, FrozenClient, is_plain
from madang.hub.connection import Connection, TooManyChannelsError
from madang.hub.direct import new_heard
from madang.hub.following import Follower, StateFollower
from madang.hub.history import Position
from madang.hub.hub import HubFullError
from madang.hub.numbering import check_channel

_BEGINNING: Final = Position(0, 0)
WAITING_MAX: Final = 100
"""Messages of one client that wait for an async handler; then it is closed as flooding."""


class Handshake(Protocol):
    """What an `authorize` function gets: the request that asks for the WebSocket."""

    path: str
    peer: str

    @property
    def headers(self) -> Any:  # noqa: ANN401 - `get(name in lower case) -> str | None`
        """Return the headers."""
        ...

    def query(self) -> Mapping[str, str]:
        """Return the query parameters."""
        ...

    def cookie(self, name: str) -> str | None:
        """Return a cookie's value."""
        ...


Authorize = Callable[[Any], Any]
MayJoin = Callable[[Client, str], Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients connect; see `hub.endpoint`."""

    path: str
    channels: tuple[str, ...]
    allow: tuple[str, ...]
    authorize: Authorize | None
    may_join: MayJoin | None
    origins: tuple[str, ...]
    history: int
    states: tuple[str, ...] = ()

    def offers(self, channel: str) -> bool:
        """Tell whether a client may ask for a channel at all."""
        if channel in self.channels:
            return True
        table: SubjectTable[str] = SubjectTable()
        for pattern in self.allow:
            table.add(pattern, pattern)
        return bool(table.match(channel))


class Owner(Protocol):
    """What a client's session needs of its worker."""

    def begin(self, session: ClientSession) -> None:
        """A client is welcome."""
        ...

    def end(self, session: ClientSession) -> None:
        """A client is gone."""
        ...

    def follow(self, channel: str, history: int) -> Follower:
        """Return the follower of a channel; raises MadangError."""
        ...

    def let_go(self, follower: Follower) -> None:
        """Follow no more what nobody has joined and nobody is joining."""
        ...

    def watch(self, channel: str) -> StateFollower:
        """Return the follower of a state channel; raises MadangError."""
        ...

    def resume(self, session: ClientSession) -> None:
        """A client that was frozen is here."""
        ...

    def resumed(self, session: ClientSession) -> None:
        """It goes on."""
        ...

    def hold(self, session: ClientSession) -> None:
        """A client is frozen: messages for it wait."""
        ...

    def moved(self, session: ClientSession, worker: str) -> None:
        """Another worker has a client that was frozen."""
        ...

    def forget(self, session: ClientSession) -> None:
        """A client that was thawed is not here after all."""
        ...

    async def said(self, session: ClientSession, data: object) -> None:
        """Hand a client's message to the application."""
        ...


class Said(msgspec.Struct):
    """A client's message."""

    type: str
    channel: str = ""
    epoch: int | None = None
    offset: int = 0
    data: Any = None


class ClientSession:
    """One client: a task that does what it says, in order."""

    def __init__(
        self,
        endpoint: Endpoint,
        owner: Owner,
        connection: Connection,
        handshake: Handshake | None,
        id: str,
    ) -> None:
        self.client = Client(id, connection.peer)
        self.connection = connection
        self._endpoint = endpoint
        self._owner = owner
        self.heard = new_heard()
        self._handshake = handshake  # None: it was thawed
        self._still = False
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    # -- Session of the hub

    def on_message(self, payload: bytes, binary: bool) -> None:
        """Take what the client says; it is acted on in order."""
        if binary:
            self.connection.close(CloseCode.UNSUPPORTED_DATA, "text frames of JSON, please")
        elif len(self._waiting) >= WAITING_MAX:
            self.connection.close(CloseCode.FLOODING, f"more than {WAITING_MAX} messages wait")
        else:
            self._waiting.append(payload)
            self._wake.set()

    def on_close(self, code: int, reason: str) -> None:
        """The connection has ended."""
        self._task.cancel()
        self._owner.end(self)

    def tell(self, data: bytes) -> None:
        """Queue what the application sends to this client, a JSON text."""
        self.connection.send(b'{"type":"message","data":%s}' % data)

    # -- MobileSession of the hub

    def may_move(self) -> bool:
        """Tell whether nothing it said is being acted on, and all that it is is plain data."""
        return self._still and not self._waiting and is_plain(self.client)

    def freeze(self) -> bytes:
        """Return it as plain data; here it is over, without `on_disconnect`."""
        self._task.cancel()
        client = self.client
        events: dict[str, tuple[int, int]] = {}
        states: dict[str, tuple[int, int, list[str]]] = {}
        for name in client.channels:
            follower = self._follower(name)
            if isinstance(follower, StateFollower):
                at = follower.position or _BEGINNING
                states[name] = (*at, self.connection.missed(follower.channel))
            else:
                events[name] = follower.channel.stands_at(self.connection) or _BEGINNING
        heard = list(self.heard)
        frozen = FrozenClient(client.id, client.user, client.data, events, states, heard)
        self._owner.hold(self)
        return msgspec.msgpack.encode(frozen)

    def moved(self, taker: str) -> None:
        """Another worker has it."""
        self._owner.moved(self, taker)

    def discard(self) -> None:
        """It was thawed and never went on."""
        self._task.cancel()
        self._owner.forget(self)

    def _follower(self, channel: str) -> Follower | StateFollower:
        """Return what feeds a channel that the client is in."""
        if channel in self._endpoint.states:
            return self._owner.watch(channel)
        return self._owner.follow(channel, self._endpoint.history)

    def send(self, value: object) -> None:
        """Queue one message to this client."""
        self.connection.send(msgspec.json.encode(value))

    # -- what it says

    async def _run(self) -> None:
        try:
            if self._handshake is None:
                self._owner.resumed(self)
            elif not await self._authorize():
                return
            while True:
                while self._waiting:
                    await self._act(self._waiting.popleft())
                self._wake.clear()
                self._still = True
                await self._wake.wait()
                self._still = False
        except Exception:  # noqa: BLE001 - outermost frame of a client
            log.get("hub").exception("client failed", client=self.client.id)
            self.connection.close(CloseCode.INTERNAL_ERROR, "internal error")

    async def _authorize(self) -> bool:
        endpoint, handshake = self._endpoint, self._handshake
        assert handshake is not None
        if endpoint.authorize is not None:
            user = await _value(endpoint.authorize(handshake))
            if user is None or user is False:
                self.connection.close(CloseCode.UNAUTHORIZED, "not authorized")
                return False
            self.client.user = user
        if self.connection.closed:
            return False
        self.connection.authenticated = True
        self._owner.begin(self)
        self.send({"type": "welcome", "client": self.client.id})
        asked = handshake.query()
        self._handshake = None
        for channel in endpoint.channels:
            with self._refusals_told(channel):
                await self._join(channel, _position(asked.get(channel)))
        for channel in endpoint.states:
            with self._refusals_told(channel):
                await self._watch(channel)
        return True

    async def _act(self, payload: bytes) -> None:
        try:
            said = msgspec.json.decode(payload, type=Said)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._error("bad_message", str(error))
            return
        if said.type == "message":
            await self._owner.said(self, said.data)
        elif said.type == "subscribe":
            since = None if said.epoch is None else Position(said.epoch, said.offset)
            await self._subscribe(said.channel, since)
        elif said.type == "unsubscribe":
            self._leave(said.channel)
        elif said.type == "ping":
            self.send({"type": "pong"})
        else:
            self._error("unknown_type", "message, subscribe, unsubscribe or ping")

    async def _subscribe(self, channel: str, since: Position | None) -> None:
        with self._refusals_told(channel):
            check_channel(channel)
            allowed = self._endpoint.offers(channel)
            if allowed and self._endpoint.may_join is not None:
                allowed = bool(await _value(self._endpoint.may_join(self.client, channel)))
            if not allowed:
                self._error("not_allowed", f"channel {channel} is not for you", channel)
            elif channel in self.client.channels:
                self._error("already_subscribed", f"you are in {channel}", channel)
            else:
                await self._join(channel, since)

    @contextmanager
    def _refusals_told(self, channel: str) -> Iterator[None]:
        """Tell the client why it cannot join a channel."""
        try:
            yield
        except TooManyChannelsError as error:
            self._error("too_many_channels", error.message, channel)
        except HubFullError as error:
            self._error("worker_full", error.message, channel)
        except MadangError as error:
            self._error("bad_channel", error.message, channel)

    async def _join(self, channel: str, since: Position | None) -> None:
        self.connection.check_room()  # before anything is made or said
        follower = self._owner.follow(channel, self._endpoint.history)
        try:
            with _joining((follower,)):
                await follower.ready()
            if not self.connection.closed:
                self._enter(follower.channel, since)
        finally:
            self._owner.let_go(follower)

    def _enter(self, channel: Channel, since: Position | None) -> None:
        found = channel.recover(since)
        position = found.position or Position(0, 0)
        self.send(
            {
                "type": "subscribed",
                "channel": channel.name,
                "epoch": position.epoch,
                "offset": position.offset,
                "recovered": since is not None and found.recovered,
            }
        )
        self.connection.subscribe(channel, since)
        self.client.channels.add(channel.name)

    async def _watch(self, channel: str) -> None:
        """Join a state channel: the newest of every key, then what changes."""
        self.connection.check_room()
        follower = self._owner.watch(channel)
        await follower.ready()
        if not self.connection.closed:
            self.send({"type": "subscribed", "channel": channel})
            self.connection.watch(follower.channel)
            self.client.channels.add(channel)

    def _leave(self, channel: str) -> None:
        if channel not in self.client.channels or channel in self._endpoint.states:
            self._error("not_subscribed", f"you are not in {channel}", channel)
            return
        self.client.channels.discard(channel)
        self.connection.unsubscribe(self._owner.follow(channel, self._endpoint.history).channel)
        self.send({"type": "unsubscribed", "channel": channel})

    def _error(self, code: str, message: str, channel: str = "") -> None:
        answer = {"type": "error", "code": code, "message": message}
        self.send({**answer, "channel": channel} if channel else answer)


async def thaw_session(
    endpoint: Endpoint, owner: Owner, connection: Connection, frozen: bytes
) -> ClientSession:
    """Return a client as another worker froze it, with what it has missed queued.

    Raises MadangError where that would not be complete.
    """
    was = msgspec.msgpack.decode(frozen, type=FrozenClient)
    events = {name: owner.follow(name, endpoint.history) for name in was.events}
    states = {name: owner.watch(name) for name in was.states}
    with _joining(events.values()):
        for follower in (*events.values(), *states.values()):
            await follower.ready()
    for name, follower in events.items():
        if not endpoint.offers(name):
            raise MadangError(f"channel {name} is not offered any more")
        if not follower.channel.recover(Position(*was.events[name])).recovered:
            raise MadangError(f"the history of {name} does not reach back to the client")
    session = ClientSession(endpoint, owner, connection, None, was.id)
    client = session.client
    client.user, client.data = was.user, was.data
    session.heard.extend(was.heard)
    connection.authenticated = True
    for name, at in was.events.items():
        connection.subscribe(events[name].channel, Position(*at))
    for name, (epoch, offset, missed) in was.states.items():
        connection.resume(states[name].channel, Position(epoch, offset), missed)
    client.channels.update(was.events, was.states)
    owner.resume(session)
    return session


@contextmanager
def _joining(followers: Iterable[Follower]) -> Iterator[None]:
    """Keep followers from being let go while somebody waits for them."""
    kept = list(followers)
    for follower in kept:
        follower.joining += 1
    try:
        yield
    finally:
        for follower in kept:
            follower.joining -= 1


async def _value(value: Any) -> Any:  # noqa: ANN401 - whatever the application's function gives
    return await value if inspect.isawaitable(value) else value


def _position(text: str | None) -> Position | None:
    """Return the position that `epoch.offset` says; None where it says none."""
    if text is None:
        return None
    epoch, _, offset = text.partition(".")
    if epoch.isdigit() and offset.isdigit() and len(text) <= 40:
        return Position(int(epoch), int(offset))
    return None
