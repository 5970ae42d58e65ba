"""The queue of one subject's jobs: who waits, who works, what comes next. Pure.

Invariant: a job is in exactly one place (waiting, resting before its next attempt, or running at
one worker) until it has an outcome, and has one outcome. A worker never runs more than its slots.
Submitters take turns; of the workers the one with most free slots is next. What is known of a
finished job stays for a while, so that a repeated submission gets the outcome instead of a run.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from enum import StrEnum
from typing import Final

import msgspec

from madang.bus.errors import Overloaded
from madang.bus.settings import WorkLimits

JOB_BYTES: Final = 256
"""What a job costs beside its payload, for the byte limits."""


class Ending(StrEnum):
    """How a job or an attempt ended. FAILED may be tried again, STARTED has not ended."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"
    DEAD = "dead"


class Job(msgspec.Struct, array_like=True):
    """A job that has no outcome yet; `worker` is empty unless it runs."""

    id: str
    submitter: str
    payload: bytes
    attempt: int = 0
    worker: str = ""
    reason: str = ""


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What became of a job: `data` is the result, or the reason in UTF-8."""

    id: str
    submitter: str
    ending: Ending
    attempts: int
    data: bytes


class Worker:
    """A worker: how many jobs it takes at once, and which it has."""

    __slots__ = ("running", "slots")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.running: set[str] = set()

    @property
    def free(self) -> int:
        """How many more it takes."""
        return self.slots - len(self.running)


class WorkQueue:
    """Jobs, workers and outcomes of one subject. Times are milliseconds of one clock."""

    def __init__(self, limits: WorkLimits) -> None:
        self._limits = limits
        self._jobs: dict[str, Job] = {}
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()  # by submitter, next first
        self._resting: list[tuple[int, int, Job]] = []
        self._rested = 0
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        self._outcome_bytes = 0
        self._news: list[Outcome] = []
        self._letters: list[tuple[Job, str]] = []
        self.workers: dict[str, Worker] = {}
        self.bytes_held = 0

    def __len__(self) -> int:
        """Return how many jobs have no outcome yet."""
        return len(self._jobs)

    # -- submitters

    def submit(self, job: Job) -> None:
        """Accept a job; one that is known is not taken twice. Raises Overloaded.

        `job.worker` names the worker that already runs it, where its queue's owner changed.
        """
        finished = self._outcomes.get(job.id)
        if finished is not None:
            self._news.append(finished)
            return
        if job.id in self._jobs:
            return
        size = len(job.payload) + JOB_BYTES
        limits = self._limits
        if not job.worker and (
            len(self._jobs) >= limits.waiting_jobs_max
            or self.bytes_held + size > limits.waiting_bytes_max
        ):
            raise Overloaded("too many jobs wait", jobs=len(self._jobs), bytes=self.bytes_held)
        self._jobs[job.id] = job
        self.bytes_held += size
        if job.worker:
            self.workers.setdefault(job.worker, Worker(0)).running.add(job.id)
        else:
            self._wait(job)

    def adopt(self, job: Job) -> None:
        """Learn from a worker that it runs a job; raises Overloaded."""
        known = self._jobs.get(job.id)
        if known is None:
            self.submit(job)
        elif known.worker != job.worker and known.attempt <= job.attempt:
            self._withdraw(known)
            known.worker, known.attempt = job.worker, job.attempt
            self.workers.setdefault(job.worker, Worker(0)).running.add(job.id)

    # -- workers

    def join(self, worker: str, slots: int) -> None:
        """Let a worker take `slots` jobs at once; 0: no more, what it runs goes on."""
        self.workers.setdefault(worker, Worker(slots)).slots = slots

    def lost(self, worker: str) -> None:
        """A worker is gone: what it ran is next, or dead."""
        gone = self.workers.pop(worker, None)
        if gone is not None:
            for id in sorted(gone.running, reverse=True):
                job = self._jobs[id]
                job.worker = ""
                self._again(job, f"worker {worker} died", None)

    def finish(self, worker: str, outcome: Outcome, now_ms: int) -> None:
        """Take what a worker says of an attempt; only a success counts after it was given up."""
        job = self._jobs.get(outcome.id)
        if job is None:
            if outcome.id not in self._outcomes:
                self._conclude(outcome)
            return
        current = job.worker == worker and job.attempt == outcome.attempts
        if outcome.ending is Ending.DONE:
            self._end(job, outcome)
        elif current and outcome.ending is Ending.REJECTED:
            self._dead(job, outcome.data.decode(errors="replace"), Ending.REJECTED)
        elif current:
            self.workers[worker].running.discard(job.id)
            job.worker = ""
            self._again(job, outcome.data.decode(errors="replace"), now_ms)

    def assign(self, now_ms: int) -> list[tuple[str, Job]]:
        """Give waiting jobs to free slots; each pair is (worker, job) to be delivered."""
        while self._resting and self._resting[0][0] <= now_ms:
            self._wait(heapq.heappop(self._resting)[2])
        given: list[tuple[str, Job]] = []
        while self._waiting:
            name = max(self.workers, key=lambda name: self.workers[name].free, default="")
            if not name or self.workers[name].free <= 0:
                break
            submitter, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[submitter] = jobs  # behind the others: they take turns
            if job.attempt >= self._limits.attempts_max:  # its last worker died with its owner
                self._dead(job, job.reason or "worker died", Ending.DEAD)
                continue
            job.worker = name
            job.attempt += 1
            self.workers[name].running.add(job.id)
            given.append((name, job))
        return given

    def undelivered(self, worker: str, id: str) -> None:
        """A delivery certainly did not arrive: the job waits again, the attempt does not count."""
        job = self._jobs.get(id)
        if job is not None and job.worker == worker:
            self._withdraw(job)
            job.attempt -= 1
            self._wait(job, front=True)

    def next_due_ms(self) -> int | None:
        """Return when a resting job is due."""
        return self._resting[0][0] if self._resting else None

    # -- what is to be told

    def take_outcomes(self) -> list[Outcome]:
        """Return the outcomes that submitters have not been told, once."""
        news, self._news = self._news, []
        return news

    def take_dead_letters(self) -> list[tuple[Job, str]]:
        """Return jobs that died since the last call, with the reason."""
        letters, self._letters = self._letters, []
        return letters

    def export(self) -> bytes:
        """Return every job without outcome, for the next owner."""
        return msgspec.msgpack.encode(list(self._jobs.values())) if self._jobs else b""

    def load(self, exported: bytes) -> None:
        """Take over what another owner exported; limits do not bind what was accepted."""
        for job in msgspec.msgpack.decode(exported, type=list[Job]):
            if job.id in self._jobs:
                continue
            self._jobs[job.id] = job
            self.bytes_held += len(job.payload) + JOB_BYTES
            if job.worker:
                self.workers.setdefault(job.worker, Worker(0)).running.add(job.id)
            else:
                self._wait(job)

    def statistics(self) -> dict[str, int]:
        """Return present sizes."""
        running = sum(len(worker.running) for worker in self.workers.values())
        return {
            "waiting": len(self._jobs) - running,
            "running": running,
            "workers": len(self.workers),
            "free_slots": sum(worker.free for worker in self.workers.values()),
        }

    # -- inside

    def _wait(self, job: Job, *, front: bool = False) -> None:
        jobs = self._waiting.get(job.submitter)
        if jobs is None:
            jobs = self._waiting[job.submitter] = deque()
        if front:
            jobs.appendleft(job)
            self._waiting.move_to_end(job.submitter, last=False)
        else:
            jobs.append(job)

    def _withdraw(self, job: Job) -> None:
        """Take a job from where it is."""
        if job.worker:
            self.workers[job.worker].running.discard(job.id)
            job.worker = ""
            return
        jobs = self._waiting.get(job.submitter)
        if jobs is not None and job in jobs:
            jobs.remove(job)
            if not jobs:
                del self._waiting[job.submitter]
        else:
            self._resting = [entry for entry in self._resting if entry[2] is not job]
            heapq.heapify(self._resting)

    def _again(self, job: Job, reason: str, now_ms: int | None) -> None:
        """Try a job that is nowhere once more: at once (`now_ms` None), or after a rest."""
        if job.attempt >= self._limits.attempts_max:
            self._dead(job, reason, Ending.DEAD)
        elif now_ms is None:
            self._wait(job, front=True)
        else:
            rest_ms = self._limits.retry_ms << min(job.attempt - 1, 30)
            self._rested += 1
            due_ms = now_ms + min(rest_ms, self._limits.retry_max_ms)
            heapq.heappush(self._resting, (due_ms, self._rested, job))

    def _dead(self, job: Job, reason: str, ending: Ending) -> None:
        self._letters.append((job, reason))
        self._end(job, Outcome(job.id, job.submitter, ending, job.attempt, reason.encode()))

    def _end(self, job: Job, outcome: Outcome) -> None:
        self._withdraw(job)
        del self._jobs[job.id]
        self.bytes_held -= len(job.payload) + JOB_BYTES
        self._conclude(outcome)

    def _conclude(self, outcome: Outcome) -> None:
        self._news.append(outcome)
        self._outcomes[outcome.id] = outcome
        self._outcome_bytes += len(outcome.data) + JOB_BYTES
        while (
            len(self._outcomes) > self._limits.outcomes_max
            or self._outcome_bytes > self._limits.outcome_bytes_max
        ):
            _, oldest = self._outcomes.popitem(last=False)
            self._outcome_bytes -= len(oldest.data) + JOB_BYTES
