"""Runs the handlers of an application on a bus: decoded payloads, plain or async functions.

Plain handlers of messages and requests run on the loop; plain handlers of jobs, which may take
long, in threads. Invariant: every queue of waiting calls is bounded, and what a bound refuses is
told: a gap, a refusal. A failing handler is logged and harms nothing else.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from madang.bus import values
from madang.bus.errors import BusError
from madang.bus.port import UNKNOWN_LOSS, Assignment, Bus, Gap, Message, Request, Subscription
from madang.core import log

WAITING_MESSAGES_MAX: Final = 10_000
WAITING_GAPS_MAX: Final = 100
"""Gaps at the end of a full queue, one for each peer; those of further peers are added to one."""
QUESTIONS_AT_ONCE_MAX: Final = 1_000
REFUSAL_CHARACTERS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Received:
    """A message or a question: `peer` names the process that sent it."""

    subject: str
    payload: Any
    peer: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job: the same `id` in every attempt, of which the first is 1."""

    id: str
    subject: str
    payload: Any
    attempt: int


class Reject(BusError):
    """Raised by a handler of jobs: no attempt can succeed."""


MessageHandler = Callable[[Received], Any]
JobHandler = Callable[[Job], Any]
GapHandler = Callable[[Gap], Any]


class Tasks:
    """What handlers do at this moment, so that an orderly end can wait for it."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine of a handler."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def finish(self, timeout_ms: int) -> None:
        """Wait for all, then cancel what is left."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=timeout_ms / 1000)
        for task in list(self._running):
            task.cancel()


class MessageRunner:
    """Brings messages to one handler, in order; an async one gets the next when it is done."""

    def __init__(self, handler: MessageHandler, on_gap: GapHandler | None, tasks: Tasks) -> None:
        self._handler = handler
        self._on_gap = on_gap
        self._tasks = tasks
        self._async = inspect.iscoroutinefunction(handler)
        self._waiting: deque[tuple[MessageHandler, Any]] = deque()
        self._busy = False

    def subscribe(self, bus: Bus, pattern: str, raw: bool) -> Subscription:
        """Register with a bus."""

        def take(batch: list[Message]) -> None:
            for index, (subject, payload, peer) in enumerate(batch):
                try:
                    value = payload if raw else values.decode(payload)
                    taken = self._offer(self._handler, Received(subject, value, peer))
                except Exception:  # noqa: BLE001 - the rest of the batch must come
                    log.get("bus").exception("message handler failed", subject=subject)
                    continue
                if not taken:
                    self.gap(Gap(peer, pattern, len(batch) - index))
                    return

        return bus.subscribe(pattern, take, self.gap)

    def gap(self, gap: Gap) -> None:
        """Tell of messages that were lost; in its place among those that wait."""
        if self._on_gap is None:
            log.get("bus").warning("messages lost", pattern=gap.subject_pattern, lost=gap.lost)
        elif not self._add_to_waiting(gap):
            self._offer(self._on_gap, gap, force=True)

    def _add_to_waiting(self, gap: Gap) -> bool:
        """Add a gap to one that waits with no message behind it; False where there is none.

        What a hanging handler loses would else fill the queue without end, a gap for each batch.
        """
        waiting = self._waiting
        for back in range(1, min(len(waiting), WAITING_GAPS_MAX) + 1):
            act, last = waiting[-back]
            if not isinstance(last, Gap):
                return False
            if last[:2] == gap[:2] or back == WAITING_GAPS_MAX:
                unknown = UNKNOWN_LOSS in (last.lost, gap.lost)
                lost = UNKNOWN_LOSS if unknown else last.lost + gap.lost
                waiting[-back] = act, last._replace(lost=lost)
                return True
        return False

    def _offer(self, act: Callable[[Any], Any], argument: object, force: bool = False) -> bool:
        if not self._async:
            act(argument)
            return True
        if len(self._waiting) >= WAITING_MESSAGES_MAX and not force:
            return False
        self._waiting.append((act, argument))
        if not self._busy:
            self._busy = True
            self._tasks.start(self._run())
        return True

    async def _run(self) -> None:
        try:
            while self._waiting:
                act, argument = self._waiting.popleft()
                try:
                    outcome = act(argument)
                    if inspect.isawaitable(outcome):
                        await outcome
                except Exception:  # noqa: BLE001 - the next message must come
                    log.get("bus").exception("message handler failed")
        finally:
            self._busy = False


def serve(bus: Bus, subject: str, handler: MessageHandler, tasks: Tasks) -> Subscription:
    """Answer questions with what `handler` returns; what it raises is the refusal."""
    at_once = 0

    async def answer_later(request: Request, answer: Awaitable[object]) -> None:
        nonlocal at_once
        try:
            _respond(request, await answer)
        except Exception as error:  # noqa: BLE001 - it is the asker's
            _refuse(request, error)
        finally:
            at_once -= 1

    def take(batch: list[Request]) -> None:
        nonlocal at_once
        for request in batch:
            if at_once >= QUESTIONS_AT_ONCE_MAX:
                request.refuse("too many questions at once")
                continue
            try:
                received = Received(request.subject, values.decode(request.payload), request.peer)
                answer = handler(received)
                if inspect.isawaitable(answer):
                    at_once += 1  # here: none of a batch's tasks runs before the batch is through
                    tasks.start(answer_later(request, answer))
                else:
                    _respond(request, answer)
            except Exception as error:  # noqa: BLE001 - it is the asker's
                _refuse(request, error)

    return bus.serve(subject, take)


def _respond(request: Request, answer: object) -> None:
    request.respond(values.encode(answer))


def _refuse(request: Request, error: Exception) -> None:
    log.get("bus").warning("question refused", subject=request.subject, reason=_words(error))
    if not request.answered:
        request.refuse(_words(error))


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:REFUSAL_CHARACTERS_MAX]


class JobRunner:
    """Does jobs with one handler, in threads where it is a plain function."""

    def __init__(self, handler: JobHandler, at_once: int, tasks: Tasks) -> None:
        self._handler = handler
        self._at_once = at_once
        self._tasks = tasks
        self._threads: ThreadPoolExecutor | None = None
        if not inspect.iscoroutinefunction(handler):
            self._threads = ThreadPoolExecutor(at_once, "madang-job")

    def work(self, bus: Bus, subject: str) -> Subscription:
        """Register with a bus."""
        return bus.work(subject, self._take, self._at_once)

    def _take(self, assignment: Assignment) -> None:
        self._tasks.start(self._do(assignment))

    async def _do(self, assignment: Assignment) -> None:
        job = Job(
            assignment.id,
            assignment.subject,
            values.decode(assignment.payload),
            assignment.attempt,
        )
        try:
            if self._threads is not None:
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(self._threads, self._handler, job)
            else:
                result = await self._handler(job)
            assignment.done(b"" if result is None else values.encode(result))
        except Reject as error:
            assignment.reject(error.message)
        except Exception as error:  # noqa: BLE001 - it is the job's
            log.get("bus").exception("job failed", subject=job.subject, job=job.id)
            assignment.fail(_words(error))
