"""The owner of a subject's queue: the one process that holds its lease.

Everybody who works or submits keeps one question open at the owner (ATTEND), so that its end, in
order or not, is noticed at once. Invariant: only the lease holder serves the subject's questions,
and a new owner gives out nothing before the workers of the last had time to say what they run.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, Final

import msgspec

from madang.bus import values
from madang.bus.errors import BusError, NotDelivered, Overloaded, RequestRefused
from madang.bus.lease import Held
from madang.bus.port import Bus, Request
from madang.bus.settings import WorkLimits
from madang.bus.workqueue import Ending, Job, Outcome, WorkQueue
from madang.core import log
from madang.wire.busframes import PAYLOAD_BYTES_MAX

QUESTIONS: Final = "_work."
DELIVERIES: Final = "_run."
OUTCOMES: Final = "_done."
DEAD_LETTERS: Final = "work.dead."
JOB_PAYLOAD_BYTES_MAX: Final = PAYLOAD_BYTES_MAX - 4096
DELIVERY_TIMEOUT_MS: Final = 60_000
BUSY_RETRY_S: Final = 0.05
ACCEPTED: Final = b"accepted"
FULL: Final = b"full"


class Ask(IntEnum):
    """What a participant says to the owner."""

    SUBMIT = 1  # a job
    ADOPT = 2  # a job that the sender runs
    ATTEND = 3  # slots of the sender; answered only when the owner leaves
    SLOTS = 4  # slots of the sender, answered at once
    FINISH = 5  # what came of an attempt


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A question to the owner; the fields that its kind needs are set."""

    ask: Ask
    job: Job | None = None
    outcome: Outcome | None = None
    slots: int = 0


def question_subject(subject: str) -> str:
    """Return where the owner of a subject's queue is asked."""
    return QUESTIONS + subject


def delivery_subject(subject: str, worker: str) -> str:
    """Return where a worker takes deliveries of a subject; short however long both are."""
    digest = hashlib.sha256(f"{subject} {worker}".encode()).hexdigest()
    return DELIVERIES + digest[:32]


def lease_name(subject: str) -> str:
    """Return the name of the lease of a subject's queue."""
    return "work-" + hashlib.sha256(subject.encode()).hexdigest()[:32]


class QueueOwner:
    """Keeps the queue of one subject while it holds its lease."""

    def __init__(self, bus: Bus, subject: str, held: Held, limits: WorkLimits) -> None:
        self.queue = WorkQueue(limits)
        self._bus = bus
        self._subject = subject
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._attending: list[Request] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._present: set[str] = set()
        self._settling = held.epoch > 1
        if held.note:
            self.queue.load(held.note)
        self._service = bus.serve(question_subject(subject), self._answer)
        if self._settling:
            self._settle_timer = self._loop.call_later(limits.settle_ms / 1000, self._settle)

    def lost(self, peer: str) -> None:
        """A process is gone."""
        self._present.discard(peer)
        self.queue.lost(peer)
        self._turn()

    def close(self) -> None:
        """Leave in order: what has no outcome goes to the next owner."""
        self._end()
        for request in self._attending:
            if not request.answered:
                request.refuse("the owner leaves")
        self._held.release(self.queue.export())

    def abort(self) -> None:
        """Leave as if killed."""
        self._end()
        self._held.release()

    def _end(self) -> None:
        self._service.close()
        for timer in (self._timer, self._settle_timer if self._settling else None):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _settle(self) -> None:
        self._settling = False
        for name in [name for name in self.queue.workers if name not in self._present]:
            self.queue.lost(name)
        self._turn()

    # -- questions

    def _answer(self, batch: list[Request]) -> None:
        for request in batch:
            try:
                question = msgspec.msgpack.decode(request.payload, type=Question)
                self._act(request, question)
            except Overloaded:
                request.respond(FULL)
            except msgspec.MsgspecError as error:
                request.refuse(f"no question: {error}")
        self._turn()

    def _act(self, request: Request, question: Question) -> None:
        job, outcome = question.job, question.outcome
        if question.ask is Ask.ATTEND:
            self._attending = [open for open in self._attending if open.peer != request.peer]
            self._attending.append(request)
            self._present.add(request.peer)
            self.queue.join(request.peer, question.slots)
            return
        if question.ask is Ask.SLOTS:
            self.queue.join(request.peer, question.slots)
        elif question.ask is Ask.SUBMIT and job is not None:
            self.queue.submit(job)
        elif question.ask is Ask.ADOPT and job is not None:
            job.worker = request.peer
            self.queue.adopt(job)
        elif question.ask is Ask.FINISH and outcome is not None:
            self.queue.finish(request.peer, outcome, self._now_ms())
        request.respond(ACCEPTED)

    # -- what follows

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def _turn(self) -> None:
        """Give out what can be given, tell what is to be told, plan the next turn."""
        if not self._settling:
            for worker, job in self.queue.assign(self._now_ms()):
                # Told first: should we die with the worker, the submitter knows of the attempt.
                self._tell(Outcome(job.id, job.submitter, Ending.STARTED, job.attempt, b""))
                self._start(self._deliver(worker, job))
        for outcome in self.queue.take_outcomes():
            self._tell(outcome)
        for job, reason in self.queue.take_dead_letters():
            self._report(job, reason)
        due_ms = self.queue.next_due_ms()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_ms is not None:
            self._timer = self._loop.call_at(due_ms / 1000 + 0.001, self._turn)

    def _tell(self, outcome: Outcome) -> None:
        payload = msgspec.msgpack.encode((self._subject, outcome))
        self._bus.publish(OUTCOMES + outcome.submitter, payload)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, worker: str, job: Job) -> None:
        subject = delivery_subject(self._subject, worker)
        attempt = job.attempt
        try:
            await self._bus.request(subject, msgspec.msgpack.encode(job), DELIVERY_TIMEOUT_MS)
            return
        except Overloaded:
            self.queue.undelivered(worker, job.id)
            await asyncio.sleep(BUSY_RETRY_S)
        except (NotDelivered, RequestRefused):
            if job.attempt == attempt:
                self.queue.undelivered(worker, job.id)
            if worker in self.queue.workers:
                self.queue.join(worker, 0)  # it attends again if it lives
        except BusError:
            return  # it may have it: the loss of the worker is told apart
        self._turn()

    def _report(self, job: Job, reason: str) -> None:
        log.get("bus").error(
            "job dead", subject=self._subject, job=job.id, attempts=job.attempt, reason=reason
        )
        report = {
            "id": job.id,
            "subject": self._subject,
            "attempts": job.attempt,
            "reason": reason,
            "payload": values.readable(job.payload),
        }
        try:
            self._bus.publish(DEAD_LETTERS + self._subject, values.encode(report))
        except BusError:
            self._bus.publish(
                DEAD_LETTERS + self._subject, values.encode({**report, "payload": None})
            )
