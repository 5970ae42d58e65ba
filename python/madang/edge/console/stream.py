"""`/web/cluster/stream`: the machine as it is, once a second, for administrators.

Frames: `state` (what `madang ls` shows), `history` (points of the last hour, then new ones),
`logs` (once asked for), `audit` (when it has changed), `away` (the supervisor does not answer).
The supervisor is asked once for all sessions of this worker, and only while there are any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from madang.cluster.asking import ask
from madang.cluster.errors import ControlRefused, NotRunning
from madang.core.closecodes import CloseCode
from madang.edge.console.audit import Audit
from madang.edge.console.output import NAMES_MAX, TEXT_CHARACTERS_MAX, LogWish, Output
from madang.edge.errors import ApiError
from madang.edge.request import Principal, Request
from madang.hub import Connection

PERIOD_S: Final = 1.0
SESSIONS_MAX: Final = 32

Holds = Callable[[Principal], bool]


class Ask(msgspec.Struct, frozen=True):
    """What a page says."""

    action: str
    names: tuple[str, ...] = ()
    text: str = ""


class ConsoleSession:
    """One administrator's page."""

    def __init__(self, connection: Connection, owner: ConsoleStream, principal: Principal) -> None:
        self.principal = principal
        self.point = 0
        """The number of the next point of the history that this page lacks."""
        self._connection = connection
        self._owner = owner

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame."""
        self._connection.send(msgspec.json.encode(frame))

    def send_raw(self, payload: bytes) -> None:
        """Send a frame that is encoded."""
        self._connection.send(payload)

    def on_message(self, payload: bytes, binary: bool) -> None:
        """Take one message of the page."""
        try:
            asked = msgspec.json.decode(payload, type=Ask)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._connection.close(CloseCode.POLICY_VIOLATION, "invalid syntax")
            return
        if asked.action == "logs":
            if len(asked.names) > NAMES_MAX or len(asked.text) > TEXT_CHARACTERS_MAX:
                self._connection.close(CloseCode.POLICY_VIOLATION, "filter too long")
                return
            self._owner.output.want(self.send, LogWish(asked.names, asked.text))
        elif asked.action == "quiet":
            self._owner.output.leave(self.send)
        elif asked.action == "ping":
            self.send({"type": "pong"})
        else:
            self._connection.close(CloseCode.POLICY_VIOLATION, "unknown action")

    def on_close(self, code: int, reason: str) -> None:
        """Leave."""
        self._owner.forget(self)

    def check(self, holds: Holds) -> None:
        """Close the connection of who is no administrator any more."""
        if not self._connection.closed and not holds(self.principal):
            self._connection.close(CloseCode.UNAUTHORIZED, "the session is over")


class ConsoleStream:
    """All sessions of one worker."""

    def __init__(self, runtime_dir: Path, output: Output, audit: Audit, holds: Holds) -> None:
        self.output = output
        self._audit = audit
        self._runtime_dir = runtime_dir
        self._holds = holds
        self._sessions: set[ConsoleSession] = set()
        self._task: asyncio.Task[None] | None = None

    def open(self, request: Request, connection: Connection) -> ConsoleSession:
        """Start a session of an administrator, whom the edge has let in."""
        assert request.principal is not None
        if len(self._sessions) >= SESSIONS_MAX:
            raise ApiError(503, f"at most {SESSIONS_MAX} pages at once")
        session = ConsoleSession(connection, self, request.principal)
        self._sessions.add(session)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._show_for_ever())
        return session

    def forget(self, session: ConsoleSession) -> None:
        """Drop a session that has ended."""
        self._sessions.discard(session)
        self.output.leave(session.send)

    def check(self) -> None:
        """Close the sessions that do not hold any more."""
        for session in list(self._sessions):
            session.check(self._holds)

    def close(self) -> None:
        """Show no more."""
        self.output.close()
        if self._task is not None:
            self._task.cancel()

    async def _show_for_ever(self) -> None:
        told: dict[ConsoleSession, float] = {}
        while self._sessions:
            began_s = asyncio.get_running_loop().time()
            await self._show()
            changed = await asyncio.to_thread(self._changed)
            for session in list(self._sessions):
                if told.get(session) != changed:
                    told[session] = changed
                    session.send({"type": "audit"})
            for session in told.keys() - self._sessions:
                del told[session]
            spent_s = asyncio.get_running_loop().time() - began_s
            await asyncio.sleep(max(0.1, PERIOD_S - spent_s))
        self._task = None

    def _changed(self) -> float:
        try:
            return self._audit.path.stat().st_mtime_ns
        except OSError:
            return 0

    async def _show(self) -> None:
        try:
            state = await ask(self._runtime_dir, {"command": "ls"})
            first = min((session.point for session in self._sessions), default=0)
            history = await ask(self._runtime_dir, {"command": "history", "after": first})
        except (NotRunning, ControlRefused):
            self._to_all({"type": "away"})
            return
        self._to_all({"type": "state", **state})
        for session in list(self._sessions):
            if session.point != history["next"]:
                points = cut(history, session.point)
                session.point = history["next"]
                session.send({"type": "history", **points})

    def _to_all(self, frame: dict[str, Any]) -> None:
        payload = msgspec.json.encode(frame)
        for session in list(self._sessions):
            session.send_raw(payload)


def cut(history: dict[str, Any], point: int) -> dict[str, Any]:
    """Return the points from number `point` on, all where that number is not among them."""
    skip = point - history["first"]
    if not 0 < skip <= history["next"] - history["first"]:
        return history
    applications = {
        name: {field: values[skip:] for field, values in fields.items()}
        for name, fields in history["applications"].items()
    }
    return {**history, "first": point, "applications": applications}
