"""The queue of jobs as a pure object, under every order of events that chance finds."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.bus import Overloaded, WorkLimits
from madang.bus.workqueue import Ending, Job, Outcome, WorkQueue

LIMITS = WorkLimits(attempts_max=3, retry_ms=10, retry_max_ms=40)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "join", "lost", "done", "fail", "reject", "time", "export"]),
        st.integers(0, 3),
    ),
    max_size=120,
)


class World:
    """Workers that run what they are given, and an account of every job."""

    def __init__(self) -> None:
        self.queue = WorkQueue(LIMITS)
        self.now_ms = 0
        self.running: dict[str, dict[str, Job]] = {}
        self.slots: dict[str, int] = {}
        self.submitted: list[str] = []
        self.runs: Counter[str] = Counter()
        self.endings: dict[str, Ending] = {}

    def step(self, act: str, number: int) -> None:
        worker = f"w{number}"
        if act == "submit":
            self.submitted.append(f"j{len(self.submitted)}")
            self.queue.submit(Job(self.submitted[-1], f"s{number}", b""))
        elif act == "join":
            self.queue.join(worker, number)
            self.slots[worker] = number
            self.running.setdefault(worker, {})
        elif act == "lost":
            self.queue.lost(worker)
            self.running.pop(worker, None)
            self.slots.pop(worker, None)
        elif act == "time":
            self.now_ms += 15 * number
        elif act == "export":
            exported = self.queue.export()
            self.queue = WorkQueue(LIMITS)
            if exported:
                self.queue.load(exported)
            for name, slots in self.slots.items():
                self.queue.join(name, slots)
        else:
            self.finish(worker, {"done": Ending.DONE, "fail": Ending.FAILED}.get(act))
        self.settle()

    def finish(self, worker: str, ending: Ending | None) -> None:
        for job in list(self.running.get(worker, {}).values())[:1]:
            del self.running[worker][job.id]
            said = Outcome(job.id, job.submitter, ending or Ending.REJECTED, job.attempt, b"")
            self.queue.finish(worker, said, self.now_ms)

    def settle(self) -> None:
        before = {name: len(jobs) for name, jobs in self.running.items()}
        for worker, job in self.queue.assign(self.now_ms):
            assert all(job.id not in jobs for jobs in self.running.values()), "given twice"
            assert job.id not in self.endings, "given after its end"
            self.runs[job.id] += 1
            assert job.attempt == self.runs[job.id] <= LIMITS.attempts_max
            self.running[worker][job.id] = Job(job.id, job.submitter, b"", job.attempt)
            assert len(self.running[worker]) <= self.slots[worker]
        assert before.keys() == self.running.keys()
        for outcome in self.queue.take_outcomes():
            assert outcome.id not in self.endings, "two outcomes"
            self.endings[outcome.id] = outcome.ending

    def drain(self) -> None:
        for worker in list(self.running):
            self.step("lost", int(worker[1:]))
        self.slots = {"w9": 5}
        self.queue.join("w9", 5)
        self.running = {"w9": {}}
        for _ in range(len(self.submitted) + 2):
            self.now_ms += LIMITS.retry_max_ms
            self.settle()
            while self.running["w9"]:
                self.finish("w9", Ending.DONE)
            self.settle()


@given(STEPS)
def test_every_job_gets_one_outcome_and_never_two_workers(steps: list[tuple[str, int]]) -> None:
    world = World()
    for act, number in steps:
        world.step(act, number)
    world.drain()
    assert world.endings.keys() == set(world.submitted)
    assert len(world.queue) == world.queue.bytes_held == 0


def test_submitters_take_turns() -> None:
    queue = WorkQueue(LIMITS)
    for submitter, count in (("greedy", 4), ("modest", 2)):
        for number in range(count):
            queue.submit(Job(f"{submitter}{number}", submitter, b""))
    queue.join("w", 6)
    order = [job.id for _, job in queue.assign(0)]
    assert order == ["greedy0", "modest0", "greedy1", "modest1", "greedy2", "greedy3"]


def test_jobs_go_where_most_is_free() -> None:
    queue = WorkQueue(LIMITS)
    queue.join("small", 1)
    queue.join("large", 3)
    for number in range(4):
        queue.submit(Job(f"{number}", "s", b""))
    assert Counter(worker for worker, _ in queue.assign(0)) == {"large": 3, "small": 1}


def test_failed_attempts_rest_longer_each_time() -> None:
    queue = WorkQueue(LIMITS)
    queue.join("w", 1)
    queue.submit(Job("j", "s", b""))
    queue.assign(0)
    queue.finish("w", Outcome("j", "s", Ending.FAILED, 1, b""), 0)
    assert queue.next_due_ms() == 10
    assert queue.assign(9) == []
    assert len(queue.assign(10)) == 1
    queue.finish("w", Outcome("j", "s", Ending.FAILED, 2, b""), 10)
    assert queue.next_due_ms() == 30


def test_a_repeated_submission_is_one_job_and_gets_the_outcome_again() -> None:
    queue = WorkQueue(LIMITS)
    queue.join("w", 1)
    for _ in range(2):
        queue.submit(Job("j", "s", b""))
    assert len(queue.assign(0)) == 1
    queue.finish("w", Outcome("j", "s", Ending.DONE, 1, b"42"), 0)
    assert [outcome.data for outcome in queue.take_outcomes()] == [b"42"]
    queue.submit(Job("j", "s", b""))
    assert [outcome.data for outcome in queue.take_outcomes()] == [b"42"]
    assert queue.assign(0) == []


def test_a_late_success_of_a_lost_worker_counts_and_a_late_failure_does_not() -> None:
    queue = WorkQueue(LIMITS)
    queue.join("one", 1)
    queue.submit(Job("j", "s", b""))
    queue.assign(0)
    queue.lost("one")
    queue.join("two", 1)
    queue.assign(0)
    queue.finish("one", Outcome("j", "s", Ending.FAILED, 1, b""), 0)
    assert queue.statistics()["running"] == 1
    queue.finish("one", Outcome("j", "s", Ending.DONE, 1, b"r"), 0)
    assert [outcome.data for outcome in queue.take_outcomes()] == [b"r"]
    assert len(queue) == 0


def test_bytes_are_bounded_and_freed() -> None:
    queue = WorkQueue(WorkLimits(waiting_bytes_max=1_000))
    queue.submit(Job("a", "s", bytes(500)))
    with pytest.raises(Overloaded):
        queue.submit(Job("b", "s", bytes(500)))
    queue.join("w", 1)
    queue.assign(0)
    queue.finish("w", Outcome("a", "s", Ending.DONE, 1, b""), 0)
    queue.submit(Job("b", "s", bytes(500)))


def test_a_job_whose_last_attempt_ended_with_its_owner_is_dead() -> None:
    queue = WorkQueue(LIMITS)
    queue.submit(Job("j", "s", b"", attempt=3))
    queue.join("w", 1)
    assert queue.assign(0) == []
    assert [outcome.ending for outcome in queue.take_outcomes()] == [Ending.DEAD]
    assert [job.id for job, _ in queue.take_dead_letters()] == ["j"]
