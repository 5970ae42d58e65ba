"""Stepping at once: one task before and after the first wait, and nothing left for the next."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from madang.edge.asgi.stepper import Stepper
from tests.support.asgi import run

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="none")
Started = Callable[[Coroutine[Any, Any, Any]], Coroutine[Any, Any, Any]]


async def started(stepper: Stepper, coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - a task or None
    """Start from a callback, as a protocol does, and return the task that goes on."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def step() -> None:
        try:
            done.set_result(stepper.start(coroutine))
        except BaseException as error:  # noqa: BLE001 - passed on to the test
            done.set_exception(error)

    loop.call_soon(step)
    return await done


def stepping(test: Callable[[Stepper], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        stepper = Stepper(asyncio.get_running_loop(), contextvars.Context())
        await test(stepper)
        await stepper.close()

    run(main)


def test_the_task_is_the_same_before_and_after_the_first_wait() -> None:
    async def test(stepper: Stepper) -> None:
        seen = []

        async def patient() -> str:
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())
            await asyncio.sleep(0.001)
            seen.append(asyncio.current_task())
            return "done"

        for _ in range(3):
            seen.clear()
            task = await started(stepper, patient())
            assert await task == "done"
            assert seen == [task] * 3

    stepping(test)


def test_what_never_waits_needs_no_new_task() -> None:
    async def test(stepper: Stepper) -> None:
        seen = set()

        async def quick() -> None:
            seen.add(id(asyncio.current_task()))

        for _ in range(20):
            assert await started(stepper, quick()) is None
        assert len(seen) == 1

    stepping(test)


def test_a_context_reaches_over_waits_and_not_to_the_next() -> None:
    async def test(stepper: Stepper) -> None:
        seen = []

        async def sets(waits: bool) -> None:
            seen.append(VARIABLE.get())
            VARIABLE.set("mine")
            if waits:
                await asyncio.sleep(0)
            seen.append(VARIABLE.get())

        for waits in (False, True, False, False, True, True):
            seen.clear()
            task = await started(stepper, sets(waits))
            if task is not None:
                await task
            assert seen == ["none", "mine"]

    stepping(test)


@pytest.mark.parametrize("how", ["kept", "callback", "cancel", "name"])
def test_a_task_that_somebody_kept_is_not_given_to_the_next(how: str) -> None:
    async def test(stepper: Stepper) -> None:
        kept: list[Any] = []
        ids: list[int] = []
        called: list[bool] = []

        async def marks() -> None:
            task = asyncio.current_task()
            assert task is not None
            ids.append(id(task))
            if how == "kept":
                kept.append(task)
            elif how == "callback":
                task.add_done_callback(lambda _: called.append(True))
            elif how == "cancel":
                task.cancel()
            else:
                task.set_name("mine")

        async def plain() -> None:
            task = asyncio.current_task()
            assert task is not None
            ids.append(id(task))
            kept.append((task.get_name(), task.cancelling()))

        await started(stepper, plain())
        kept.clear()
        assert await started(stepper, marks()) is None
        await started(stepper, plain())
        if how == "kept":
            assert ids[-1] != ids[-2]
        assert kept[-1][0] != "mine"
        assert kept[-1][1] == 0
        for _ in range(3):
            await asyncio.sleep(0)
        assert bool(called) is (how == "callback")

    stepping(test)


def test_a_task_that_cancels_itself_first_is_cancelled_where_it_waits() -> None:
    async def test(stepper: Stepper) -> None:
        reached = []

        async def doomed() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            reached.append("before")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                reached.append(f"cancelled {task.cancelling()}")
                raise

        for _ in range(3):
            reached.clear()
            task = await started(stepper, doomed())
            with pytest.raises(asyncio.CancelledError):
                await task
            assert reached == ["before", "cancelled 1"]

    stepping(test)


def test_timeouts_groups_and_anyio_work_from_the_first_step() -> None:
    async def test(stepper: Stepper) -> None:
        async def asyncio_timeout() -> str:
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(60)
            except TimeoutError:
                return "timed out"
            return "not"

        async def past_timeout() -> str:
            try:
                async with asyncio.timeout(0):
                    await asyncio.sleep(60)
            except TimeoutError:
                return "timed out"
            return "not"

        async def group() -> str:
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(asyncio.sleep(0, "a"))
                second = tasks.create_task(asyncio.sleep(0.001, "b"))
            return f"{first.result()}{second.result()}"

        async def any_group() -> str:
            found = []
            with anyio.move_on_after(0.01) as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anyio.sleep, 0)
                    found.append(await anyio.to_thread.run_sync(lambda: "thread"))
                    await anyio.sleep(60)
            return f"{found[0]} {scope.cancelled_caught}"

        async def any_cancelled_at_once() -> str:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.sleep(60)
            return f"{scope.cancelled_caught}"

        for _ in range(2):
            assert await (await started(stepper, asyncio_timeout())) == "timed out"
            assert await (await started(stepper, past_timeout())) == "timed out"
            assert await (await started(stepper, group())) == "ab"
            assert await (await started(stepper, any_group())) == "thread True"
            assert await (await started(stepper, any_cancelled_at_once())) == "True"

    stepping(test)


def test_an_error_of_the_first_step_is_raised_there() -> None:
    async def test(stepper: Stepper) -> None:
        async def fails() -> None:
            raise LookupError("first")

        async def fails_later() -> None:
            await asyncio.sleep(0)
            raise LookupError("later")

        with pytest.raises(LookupError, match="first"):
            await started(stepper, fails())
        with pytest.raises(LookupError, match="later"):
            await (await started(stepper, fails_later()))

    stepping(test)
