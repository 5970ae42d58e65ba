"""The routes of the page `/cluster`; every one is for administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from madang.cluster.asking import ask
from madang.cluster.errors import ControlRefused, NotRunning
from madang.edge.console.actions import Action, Actions, Begun
from madang.edge.console.audit import Audit, Entry
from madang.edge.console.output import Output
from madang.edge.console.stream import ConsoleStream, Holds
from madang.edge.errors import ApiError
from madang.edge.request import Principal, Request, Role
from madang.edge.response import Response, json_response
from madang.edge.route import Operation, Route, WebSocketRoute

LOGS_FOLDER: Final = "logs"
SHOWN: Final = ("application", "limits", "shares", "queued", "instances")
"""What of a description is shown: not the settings, whose options may hold secrets."""


@dataclass(frozen=True, slots=True)
class Administrators:
    """Who they are, as the application knows."""

    name: Callable[[Principal], str]
    holds: Holds
    """Whether who was let in before still is an administrator."""


class OperationPath(msgspec.Struct):
    """Number of an operation."""

    id: int


class Console:
    """Everything behind the page, in one worker."""

    def __init__(self, state_dir: Path, runtime_dir: Path, people: Administrators) -> None:
        self._runtime_dir = runtime_dir
        self._people = people
        self._audit = Audit(state_dir)
        self._actions = Actions(self._audit, runtime_dir)
        self._stream = ConsoleStream(
            runtime_dir, Output(state_dir / LOGS_FOLDER), self._audit, people.holds
        )
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look after actions that are under way."""
        self._following = asyncio.get_running_loop().create_task(self._actions.follow_for_ever())

    def check(self) -> None:
        """Close the pages of who is no administrator any more."""
        self._stream.check()

    def close(self) -> None:
        """End."""
        self._stream.close()
        if self._following is not None:
            self._following.cancel()

    def websocket_routes(self) -> tuple[WebSocketRoute, ...]:
        """Return the stream."""
        return (WebSocketRoute("/web/cluster/stream", Role.ADMIN, self._stream.open),)

    def routes(self) -> tuple[Route, ...]:
        """Return the rest."""
        tags = ("cluster",)
        return (
            Route("GET", "/web/cluster", self._state, Role.ADMIN, Operation(
                "Show every process of this machine", tags, responses={200: dict},
            )),
            Route("GET", "/web/cluster/processes/{name}", self._describe, Role.ADMIN, Operation(
                "Show an application or an instance, with why it last ended", tags,
                responses={200: dict, 404: None},
            )),
            Route("GET", "/web/cluster/audit", self._audited, Role.ADMIN, Operation(
                "List who did what, the newest first", tags, responses={200: list[Entry]},
            )),
            Route("POST", "/web/cluster/operations", self._begin, Role.ADMIN, Operation(
                "Reload, restart or scale", tags, request=Action,
                responses={202: Begun, 409: None, 422: None},
            )),
            Route("GET", "/web/cluster/operations/{id}", self._operation, Role.ADMIN, Operation(
                "Show how far an operation is", tags, path=OperationPath,
                responses={200: dict, 404: None},
            )),
        )  # fmt: skip

    async def _ask(self, **question: object) -> dict[str, Any]:
        try:
            return await ask(self._runtime_dir, question)
        except ControlRefused as refusal:
            raise ApiError(404, refusal.message) from None
        except NotRunning as error:
            raise ApiError(503, error.message) from None

    async def _state(self, _: Request) -> Response:
        return json_response(await self._ask(command="ls"))

    async def _describe(self, request: Request) -> Response:
        found = await self._ask(command="describe", name=request.parameters["name"])
        return json_response({name: found[name] for name in SHOWN})

    async def _audited(self, _: Request) -> Response:
        return json_response(await asyncio.to_thread(self._audit.read))

    async def _operation(self, request: Request) -> Response:
        number = request.parameters["id"]
        if not number.isdecimal() or len(number) > 12:
            raise ApiError(404, "there is no such operation")
        return json_response(await self._ask(command="operation", id=int(number)))

    async def _begin(self, request: Request) -> Response:
        principal = request.principal
        assert principal is not None
        action = request.json(Action)
        who = self._people.name(principal)
        return json_response(await self._actions.begin(action, who, request.peer), 202)
