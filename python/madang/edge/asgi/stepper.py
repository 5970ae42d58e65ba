"""Step a coroutine at once, inside a real task that it only takes away with it if it waits.

A task, its scheduling and a turn of the loop cost more than a small answer. So one task, the
*seat*, is kept whose coroutine waits to be given another. The first step of a request runs with
the seat as current task and in the seat's context. If it ends without waiting, the seat serves the
next request; if it waits, the seat's task goes on with it: `current_task()` is the same before and
after the first wait, which asyncio.timeout, TaskGroup and anyio's cancel scopes build upon.

Invariant: what one request left in the seat reaches no other. A seat is given up when the request
changed its context, asked it to cancel, or kept a reference to it (a callback, a weak key, a name).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import types
from asyncio import tasks
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any
from weakref import getweakrefcount

from madang.edge.eager import rest

_enter = tasks._enter_task
_leave = tasks._leave_task


class _Seat:
    """A task and its context; `coroutine` and `waited` are set when a request takes it away."""

    __slots__ = (
        "context",
        "coroutine",
        "future",
        "given_up",
        "loop",
        "name",
        "task",
        "waited",
        "weak",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self.loop = loop
        self.context = context
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        self.waited: object = None
        self.future: asyncio.Future[None] | None = None
        self.given_up = False
        running = _sit(self)
        running.send(None)  # begun here, so that a cancellation before its first turn is not lost
        self.task: asyncio.Task[Any] = loop.create_task(running, context=context)
        self.name = self.task.get_name()
        self.weak = getweakrefcount(self.task)

    def wake(self) -> None:
        """Let the task see what it was given."""
        if self.future is not None and not self.future.done():
            self.future.set_result(None)

    def give_up(self) -> None:
        """Let the task end."""
        self.given_up = True
        self.wake()


@types.coroutine
def _turn() -> Generator[None, None, None]:
    yield


async def _sit(seat: _Seat) -> Any:  # noqa: ANN401 - what the coroutine returns
    cancelled = False
    try:
        await _turn()
    except asyncio.CancelledError:
        cancelled = True
    while seat.coroutine is None:
        if cancelled or seat.given_up:
            return None
        seat.future = seat.loop.create_future()
        try:
            await seat.future
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:  # asked for during the first step: what it waits for is to be cancelled
        seat.task.uncancel()
        seat.task.cancel()
    return await rest(seat.coroutine, seat.waited)


class Stepper:
    """Starts coroutines on one loop; `context` is what each of them begins with."""

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self._loop = loop
        self._context = context
        self._seat: _Seat | None = None

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any] | None:
        """Run to the first wait; return None where it never waited, else the task that goes on.

        What the coroutine raises before its first wait is raised here. No task may be current.
        """
        seat = self._seat
        self._seat = None  # a first step inside this one would take another seat
        if seat is None or seat.task.cancelling():
            seat = _Seat(self._loop, self._context.copy())
        task = seat.task
        holders = sys.getrefcount(task)
        _enter(self._loop, task)
        try:
            waited = seat.context.run(coroutine.send, None)
        except StopIteration:
            pass
        except BaseException:
            seat.give_up()
            raise
        else:
            seat.coroutine, seat.waited = coroutine, waited
            seat.wake()
            return task
        finally:
            _leave(self._loop, task)
        if (
            sys.getrefcount(task) == holders
            and seat.context == self._context
            and getweakrefcount(task) == seat.weak
            and not task.cancelling()
            and task._callbacks is None
            and task.get_name() is seat.name
        ):
            self._seat = seat
        else:
            seat.give_up()
        return None

    async def close(self) -> None:
        """End the task that waits for work."""
        seat, self._seat = self._seat, None
        if seat is not None:
            seat.give_up()
            with contextlib.suppress(asyncio.CancelledError):
                await seat.task
