"""A process's part in shared work: submitting jobs, doing them, and standing in for their owner.

A `Seat` is the place of this process at one subject. Guarantee: a job that was accepted is
delivered until it has an outcome while its submitter or the owner of the queue lives; it has at
least one run, and more only where a worker or a link dies. Submissions and results are repeated
under the same id until the owner of the day has taken them, so a change of owner loses neither.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from madang.bus.errors import (
    BusClosed,
    BusError,
    JobFailed,
    LeaseTaken,
    MessageTooLarge,
    NoServer,
    NotDelivered,
    OutcomeUnknown,
    Overloaded,
    RequestRefused,
    RequestTimeout,
)
from madang.bus.port import Assignment, Bus, Gap, Message, Request, Subscription, WorkHandler
from madang.bus.settings import WorkLimits
from madang.bus.subjects import check_subject
from madang.bus.workowner import (
    FULL,
    JOB_PAYLOAD_BYTES_MAX,
    OUTCOMES,
    Ask,
    Question,
    QueueOwner,
    delivery_subject,
    lease_name,
    question_subject,
)
from madang.bus.workqueue import Ending, Job, Outcome

ATTEND_TIMEOUT_MS: Final = 3_600_000
STAND_INTERVAL_MS: Final = 200
ASK_TIMEOUT_MS: Final = 5_000
RETRY_S: Final = 0.01
RESUBMIT_AT_ONCE: Final = 32
SUBJECT_BYTES_MAX: Final = 200


class Submission:
    """A job that was accepted."""

    __slots__ = ("_outcome", "id")

    def __init__(self, id: str, outcome: asyncio.Future[Outcome]) -> None:
        self.id = id
        self._outcome = outcome

    async def result(self, timeout_ms: int) -> bytes:
        """Wait for what the worker gave back; raises JobFailed, RequestTimeout, BusClosed."""
        done, _ = await asyncio.wait([self._outcome], timeout=timeout_ms / 1000)
        if not done:
            raise RequestTimeout(f"job {self.id} has no outcome in {timeout_ms} ms", id=self.id)
        if self._outcome.cancelled():
            raise BusClosed(f"the bus was closed before job {self.id} had an outcome", id=self.id)
        outcome = self._outcome.result()
        if outcome.ending is Ending.DONE:
            return outcome.data
        reason = outcome.data.decode(errors="replace")
        raise JobFailed(reason, id=self.id, attempts=outcome.attempts, ending=str(outcome.ending))


@dataclass(slots=True)
class _Open:
    job: Job
    outcome: asyncio.Future[Outcome]
    accepted: bool = False


class _Work:
    """The registration of this process's worker."""

    def __init__(self, seat: Seat, handler: WorkHandler, slots: int) -> None:
        self.handler = handler
        self.slots = slots
        self._seat = seat

    def close(self) -> None:
        """Take no more jobs; those under way go on."""
        self._seat.leave(self)


class Seat:
    """This process at one subject."""

    def __init__(self, desk: WorkDesk, subject: str) -> None:
        self._desk = desk
        self._bus = desk.bus
        self._subject = subject
        self._questions = question_subject(subject)
        self._loop = asyncio.get_running_loop()
        self._linked = asyncio.Event()
        self._work: _Work | None = None
        self._deliveries: Subscription | None = None
        self._running: dict[str, Job] = {}
        self._finished: dict[str, Outcome] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.open: dict[str, _Open] = {}
        self.owner: QueueOwner | None = None
        self._follower = self._loop.create_task(self._follow())

    # -- the owner of the day

    async def _follow(self) -> None:
        """Attend at the owner, or become it; never ends before it is cancelled."""
        while True:
            self._stand()
            if not await self._bus.wait_for_server(self._questions, STAND_INTERVAL_MS):
                continue
            slots = self._work.slots if self._work is not None else 0
            attending = self._loop.create_task(
                self._ask(Question(Ask.ATTEND, slots=slots), ATTEND_TIMEOUT_MS)
            )
            await asyncio.sleep(0)  # it is on its way before what follows
            self._linked.set()
            told = self._loop.create_task(self._tell_all())
            try:
                await attending
            except BusError:
                await asyncio.sleep(RETRY_S)
            finally:
                attending.cancel()
                told.cancel()
                self._linked.clear()

    def _stand(self) -> None:
        if self.owner is not None:
            return
        try:
            held = self._bus.acquire(lease_name(self._subject))
        except LeaseTaken:
            return
        self.owner = QueueOwner(self._bus, self._subject, held, self._desk.limits)

    async def _tell_all(self) -> None:
        """Tell a new owner what runs here, then repeat our submissions."""
        for job in list(self._running.values()):
            await self._tell(Question(Ask.ADOPT, job=job))
        waiting = [entry.job for entry in self.open.values() if entry.accepted]
        for start in range(0, len(waiting), RESUBMIT_AT_ONCE):
            jobs = waiting[start : start + RESUBMIT_AT_ONCE]
            await asyncio.gather(
                *(self._tell(Question(Ask.SUBMIT, job=job)) for job in jobs if job.id in self.open)
            )

    async def _tell(self, question: Question) -> None:
        """Say something until the owner has taken it; a full queue is waited for."""
        while True:
            await self._linked.wait()
            try:
                if await self._ask(question, ASK_TIMEOUT_MS) != FULL:
                    return
            except BusError:
                pass
            await asyncio.sleep(RETRY_S)

    async def _ask(self, question: Question, timeout_ms: int) -> bytes:
        payload = msgspec.msgpack.encode(question)
        return await self._bus.request(self._questions, payload, timeout_ms)

    def again(self) -> None:
        """Outcomes may have been lost: ask for those of all open submissions."""
        if self._linked.is_set():
            self._start(self._tell_all())

    # -- the worker's side

    def work(self, handler: WorkHandler, slots: int) -> Subscription:
        """Take up to `slots` jobs at once."""
        if self._work is not None:
            raise BusError(f"{self._subject} is worked on here already", subject=self._subject)
        if slots < 1:
            raise BusError("a worker takes at least one job at once", slots=slots)
        self._work = _Work(self, handler, slots)
        if self._deliveries is None:
            name = delivery_subject(self._subject, self._bus.name)
            self._deliveries = self._bus.serve(name, self._take)
        if self._linked.is_set():
            self._start(self._tell(Question(Ask.SLOTS, slots=slots)))
        return self._work

    def leave(self, work: _Work) -> None:
        """Take no more jobs."""
        if self._work is work:
            self._work = None
            self._start(self._tell(Question(Ask.SLOTS, slots=0)))

    def _take(self, batch: list[Request]) -> None:
        for request in batch:
            if self._work is None:
                request.refuse("this worker takes no more jobs")
                continue
            job = msgspec.msgpack.decode(request.payload, type=Job)
            request.respond(b"")
            self._running[job.id] = job
            assignment = Assignment(
                job.id, self._subject, job.payload, job.attempt, self._finish_with(job)
            )
            try:
                self._work.handler(assignment)
            except Exception as error:  # noqa: BLE001 - it is the job's failure
                if not assignment.ended:
                    assignment.fail(f"{type(error).__name__}: {error}")

    def _finish_with(self, job: Job) -> Callable[[str, bytes], None]:
        def finish(ending: str, data: bytes) -> None:
            if len(data) > JOB_PAYLOAD_BYTES_MAX:
                limit = JOB_PAYLOAD_BYTES_MAX
                ending, data = "rejected", f"a result of {len(data)} bytes, {limit} fit".encode()
            self._running.pop(job.id, None)
            outcome = Outcome(job.id, job.submitter, Ending(ending), job.attempt, data)
            self._finished[job.id] = outcome
            self._start(self._deliver(outcome))

        return finish

    async def _deliver(self, outcome: Outcome) -> None:
        await self._tell(Question(Ask.FINISH, outcome=outcome))
        self._finished.pop(outcome.id, None)

    # -- the submitter's side

    async def submit(self, payload: bytes) -> Submission:
        """Have a job accepted; see `Bus.submit`."""
        job = Job(self._desk.next_id(), self._bus.name, payload)
        entry = _Open(job, self._loop.create_future())
        self.open[job.id] = entry
        try:
            await self._offer(job)
        except BaseException:
            self.open.pop(job.id, None)
            raise
        entry.accepted = True
        return Submission(job.id, entry.outcome)

    async def _offer(self, job: Job) -> None:
        deadline = self._loop.time() + self._desk.limits.submit_timeout_ms / 1000
        failure: BusError = NoServer(f"no queue for {self._subject}", subject=self._subject)
        while (left_s := deadline - self._loop.time()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._linked.wait()
                answer = await self._ask(Question(Ask.SUBMIT, job=job), int(left_s * 1000) + 1)
                if answer == FULL:
                    raise Overloaded(f"too many jobs wait on {self._subject}")
                return
            except TimeoutError:
                break
            except Overloaded:
                raise
            except (NotDelivered, RequestRefused):
                pass
            except OutcomeUnknown as error:
                failure = error
            await asyncio.sleep(RETRY_S)
        raise failure

    def conclude(self, outcome: Outcome) -> None:
        """Take the news of one of our jobs."""
        if outcome.ending is Ending.STARTED:
            if outcome.id in self.open:
                self.open[outcome.id].job.attempt = outcome.attempts
            return
        entry = self.open.pop(outcome.id, None)
        if entry is not None and not entry.outcome.done():
            entry.outcome.set_result(outcome)

    # -- the end

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, timeout_ms: int) -> None:
        """Say what was finished, then leave in order."""
        self._work = None
        if self.owner is not None:
            for outcome in self._finished.values():
                self.owner.queue.finish(self._bus.name, outcome, int(self._loop.time() * 1000))
        elif self._finished:
            await asyncio.wait(list(self._tasks), timeout=timeout_ms / 1000)
        self._end()
        if self.owner is not None:
            self.owner.close()
            self.owner = None

    def abort(self) -> None:
        """Leave as if killed."""
        self._end()
        if self.owner is not None:
            self.owner.abort()
            self.owner = None

    def _end(self) -> None:
        self._follower.cancel()
        for task in self._tasks:
            task.cancel()
        for entry in self.open.values():
            entry.outcome.cancel()
        if self._deliveries is not None:
            self._deliveries.close()


class WorkDesk:
    """All seats of one process."""

    def __init__(self, bus: Bus, limits: WorkLimits) -> None:
        self.bus = bus
        self.limits = limits
        self._seats: dict[str, Seat] = {}
        self._prefix = f"{bus.name}-{os.urandom(6).hex()}"
        self._next = 0
        bus.subscribe(OUTCOMES + bus.name, self._on_outcomes, self._on_gap)
        bus.on_peer(self._on_peer)

    def next_id(self) -> str:
        """Return an id that no other job of any process has."""
        self._next += 1
        return f"{self._prefix}-{self._next}"

    def work(self, subject: str, handler: WorkHandler, slots: int) -> Subscription:
        """See `Bus.work`."""
        return self._seat(subject).work(handler, slots)

    async def submit(self, subject: str, payload: bytes) -> Submission:
        """See `Bus.submit`."""
        if len(payload) > JOB_PAYLOAD_BYTES_MAX:
            raise MessageTooLarge(f"job of {len(payload)} bytes", limit=JOB_PAYLOAD_BYTES_MAX)
        return await self._seat(subject).submit(payload)

    def _seat(self, subject: str) -> Seat:
        seat = self._seats.get(subject)
        if seat is None:
            check_subject(subject)
            if len(subject) > SUBJECT_BYTES_MAX:
                raise BusError("the subject of jobs is too long", limit=SUBJECT_BYTES_MAX)
            seat = self._seats[subject] = Seat(self, subject)
        return seat

    def _on_outcomes(self, batch: list[Message]) -> None:
        for message in batch:
            subject, outcome = msgspec.msgpack.decode(message.payload, type=tuple[str, Outcome])
            seat = self._seats.get(subject)
            if seat is not None:
                seat.conclude(outcome)

    def _on_gap(self, gap: Gap) -> None:
        for seat in self._seats.values():
            seat.again()

    def statistics(self) -> Mapping[str, int]:
        """Return what the queues kept here hold, and what we wait for."""
        counts = {"jobs_open": sum(len(seat.open) for seat in self._seats.values())}
        for seat in self._seats.values():
            if seat.owner is not None:
                for name, value in seat.owner.queue.statistics().items():
                    counts[f"jobs_{name}"] = counts.get(f"jobs_{name}", 0) + value
        return counts

    def _on_peer(self, name: str, connected: bool) -> None:
        if not connected:
            for seat in self._seats.values():
                if seat.owner is not None:
                    seat.owner.lost(name)

    async def close(self, timeout_ms: int) -> None:
        """Leave every subject in order."""
        for seat in self._seats.values():
            await seat.close(timeout_ms)
        self._seats.clear()

    def abort(self) -> None:
        """Leave as if killed."""
        for seat in self._seats.values():
            seat.abort()
        self._seats.clear()
