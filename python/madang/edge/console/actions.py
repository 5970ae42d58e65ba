"""What an administrator may do: record it, ask the supervisor, record what came of it.

The worker that began an action may be ended by it. So every worker looks, when it starts and while
anything is open, for actions without a last word, asks the supervisor how they went, and writes
that down; who reads takes the first.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from madang.cluster.asking import ask
from madang.cluster.errors import ControlRefused, NotRunning
from madang.core import log
from madang.edge.console.audit import ACCEPTED, ASKED, OPEN, Audit, Entry, Line
from madang.edge.errors import OUTCOME_UNKNOWN, ApiError

LOOK_S: Final = 0.5
ASKED_LIMIT_S: Final = 10.0
"""After so long an action without an answer of the supervisor counts as unknown."""
UNKNOWN: Final = "unknown"


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do: `name` is an application, an instance, or "all"; `instances` is for scale."""

    kind: Literal["reload", "restart", "scale"]
    name: str
    instances: str = ""

    def __post_init__(self) -> None:
        if (self.kind == "scale") is not bool(self.instances):
            raise ValueError("instances is for scale, and scale needs it")


class Begun(msgspec.Struct, frozen=True):
    """An action that runs."""

    id: str
    operation: int


class Actions:
    """One per worker."""

    def __init__(self, audit: Audit, runtime_dir: Path) -> None:
        self.audit = audit
        self._runtime_dir = runtime_dir
        self._open = asyncio.Event()
        self._open.set()  # an earlier worker may have left something
        self._log = log.get("console")

    async def begin(self, action: Action, who: str, peer: str) -> Begun:
        """Record and ask; raises ApiError 409 (refused), 503 (not begun, or unknown)."""
        id_ = os.urandom(8).hex()
        asked = Line(
            id=id_, at=time.time(), outcome=ASKED, who=who, peer=peer,
            what=action.kind, name=action.name, instances=action.instances,
        )  # fmt: skip
        try:
            await asyncio.to_thread(self.audit.append, asked)
        except OSError as error:
            text = f"not begun: the audit log cannot be written ({error.strerror})"
            raise ApiError(503, text) from None
        self._open.set()
        question: dict[str, object] = {"command": action.kind, "name": action.name}
        if action.instances:
            question["instances"] = action.instances
        try:
            answer = await ask(self._runtime_dir, question)
        except ControlRefused as refusal:
            await self._say(id_, "refused", reason=refusal.message)
            raise ApiError(409, refusal.message) from None
        except NotRunning as error:
            await self._say(id_, UNKNOWN, reason=error.message)
            text = f"{error.message}: whether it was begun is unknown"
            raise ApiError(503, text, OUTCOME_UNKNOWN) from None
        operation = int(answer["operation"])
        await self._say(id_, ACCEPTED, operation=operation, supervisor=await self._supervisor())
        return Begun(id_, operation)

    async def _supervisor(self) -> int:
        with suppress(NotRunning, ControlRefused):
            return int((await ask(self._runtime_dir, {"command": "ls"}))["supervisor"])
        return 0

    async def _say(
        self, id_: str, outcome: str, *, reason: str = "", operation: int = 0, supervisor: int = 0
    ) -> None:
        line = Line(
            id=id_, at=time.time(), outcome=outcome,
            reason=reason, operation=operation, supervisor=supervisor,
        )  # fmt: skip
        try:
            await asyncio.to_thread(self.audit.append, line)
        except OSError as error:
            self._log.error("audit log not written", id=id_, outcome=outcome, reason=str(error))

    async def follow_for_ever(self) -> None:
        """Write down what came of every action, whoever began it."""
        while True:
            await self._open.wait()
            self._open.clear()
            if await self.settle():
                self._open.set()
                await asyncio.sleep(LOOK_S)

    async def settle(self) -> bool:
        """Look once; return whether anything is open still."""
        try:
            entries = await asyncio.to_thread(self.audit.read)
        except OSError:
            return False
        found = [await self._settle(entry) for entry in entries if entry.outcome in OPEN]
        return not all(found)

    async def _settle(self, entry: Entry) -> bool:
        """Return whether the entry has its last word."""
        if entry.outcome == ASKED:
            if time.time() - entry.at > ASKED_LIMIT_S:
                await self._say(entry.id, UNKNOWN, reason="the worker that asked has ended")
                return True
            return False
        if entry.supervisor and entry.supervisor != await self._supervisor():
            return False if await self._silent() else await self._lost(entry)
        try:
            question = {"command": "operation", "id": entry.operation}
            operation = await ask(self._runtime_dir, question)
        except ControlRefused:
            return await self._lost(entry)
        except NotRunning:
            return False
        if operation["state"] == "running":
            return False
        await self._say(entry.id, str(operation["state"]), reason=str(operation["reason"]))
        return True

    async def _silent(self) -> bool:
        return await self._supervisor() == 0

    async def _lost(self, entry: Entry) -> bool:
        await self._say(entry.id, UNKNOWN, reason="the supervisor that had it has ended")
        return True
