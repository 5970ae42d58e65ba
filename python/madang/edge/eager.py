"""Run a coroutine up to its first wait without a task; make one only if it waits.

Most handlers answer from memory: for them a task, its scheduling and a turn of the loop would
cost more than the answer. While the first step runs, a `_FirstStep` stands for the current task,
so that asyncio.timeout and TaskGroup work there; what they ask of it is passed on to the task
that follows.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

Result = TypeVar("Result")


class _FirstStep:
    """Stands for a task that does not exist yet."""

    __slots__ = ("_cancels", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self._cancels = 0

    def cancel(self, msg: object = None) -> bool:
        """Cancel the task that follows."""
        if self.task is not None:
            return self.task.cancel(msg)
        self._cancels += 1
        return True

    def cancelling(self) -> int:
        """Return how many cancellations are pending."""
        return self._cancels if self.task is None else self.task.cancelling()

    def uncancel(self) -> int:
        """Take one cancellation back."""
        if self.task is not None:
            return self.task.uncancel()
        self._cancels -= 1
        return self._cancels


@types.coroutine
def rest(coroutine: Coroutine[Any, Any, Result], waited: object) -> Generator[Any, Any, Result]:
    """Go on with a coroutine that was stepped by hand until it waited for `waited`."""
    while True:
        failure: BaseException | None = None
        value: Any = None
        try:
            value = yield waited
        except BaseException as error:  # noqa: BLE001 - passed into the coroutine
            failure = error
        try:
            waited = coroutine.send(value) if failure is None else coroutine.throw(failure)
        except StopIteration as stop:
            result: Result = stop.value
            return result


def start(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Result]
) -> tuple[Result | None, asyncio.Task[Result] | None]:
    """Return (result, None) where the coroutine never waited, else (None, the task that goes on).

    What the coroutine raises in its first step is raised here. No task may be current.
    """
    first = _FirstStep()
    asyncio.tasks._enter_task(loop, first)  # type: ignore[arg-type]
    try:
        waited = coroutine.send(None)
    except StopIteration as stop:
        return stop.value, None
    finally:
        asyncio.tasks._leave_task(loop, first)  # type: ignore[arg-type]
    task = loop.create_task(rest(coroutine, waited))
    first.task = task
    for _ in range(first._cancels):
        loop.call_soon(task.cancel)  # behind the task's first step: it must have begun to wait
    return None, task
