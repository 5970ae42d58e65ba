"""What shared work must do on every bus adapter: scenarios over the ground of bus_contract."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from madang.bus import Bus, BusLimits, JobFailed, Overloaded, WorkLimits, values
from madang.bus.errors import BusError, MessageTooLarge
from madang.bus.port import Assignment, Submission
from tests.contract.bus_contract import Ground, Inbox, Scenario, until

RESULT_MS = 20_000
QUICK = BusLimits(
    queued_bytes=2 * 1024 * 1024, work=WorkLimits(retry_ms=1, settle_ms=50, submit_timeout_ms=2_000)
)


STUBBORN = BusLimits(
    queued_bytes=QUICK.queued_bytes, work=msgspec.structs.replace(QUICK.work, attempts_max=1_000)
)
"""However often its worker was killed, a job is tried again."""


class Bench:
    """A worker: keeps what it is given until told what to do with it."""

    def __init__(self, bus: Bus, slots: int = 1) -> None:
        self.bus = bus
        self.given: list[Assignment] = []
        self.most = 0
        self.registration = bus.work("jobs", self.take, slots)

    def take(self, job: Assignment) -> None:
        self.given.append(job)
        self.most = max(self.most, len(self.open))

    @property
    def open(self) -> list[Assignment]:
        return [job for job in self.given if not job.ended]

    def finish(self) -> None:
        for job in self.open:
            job.done(b"by " + self.bus.name.encode())


async def three(ground: Ground) -> tuple[Bus, Bus, Bus]:
    buses = [await ground.open(name, QUICK) for name in ("front", "one", "two")]
    for bus in buses:
        await until(lambda bus=bus: len(bus.peers()) == 2)  # type: ignore[misc]
    return buses[0], buses[1], buses[2]


async def a_job_goes_to_exactly_one_worker_and_its_result_comes_back(ground: Ground) -> None:
    front, one, two = await three(ground)
    benches = [Bench(one, 4), Bench(two, 4)]
    await until(
        lambda: (
            one.statistics().get("jobs_workers", 0) + two.statistics().get("jobs_workers", 0) == 2
        )
    )
    submissions = [await front.submit("jobs", b"%d" % number) for number in range(8)]
    await until(lambda: sum(len(bench.given) for bench in benches) == 8)
    assert [len(bench.given) for bench in benches] == [4, 4]
    payloads = sorted(job.payload for bench in benches for job in bench.given)
    assert payloads == [b"%d" % number for number in range(8)]
    for bench in benches:
        bench.finish()
    results = {await submission.result(RESULT_MS) for submission in submissions}
    assert results == {b"by one", b"by two"}


async def a_worker_never_has_more_than_it_takes_at_once(ground: Ground) -> None:
    front, one, two = await three(ground)
    small, large = Bench(one, 1), Bench(two, 3)
    submissions = [await front.submit("jobs", b"x") for _ in range(20)]
    results = asyncio.gather(*(submission.result(RESULT_MS) for submission in submissions))

    def finish_and_look() -> bool:
        small.finish()
        large.finish()
        return results.done()

    await until(finish_and_look)
    assert (small.most, large.most) == (1, 3)
    assert len(small.given) + len(large.given) == 20


async def jobs_wait_for_a_worker_to_come(ground: Ground) -> None:
    front, one, _ = await three(ground)
    submission = await front.submit("jobs", b"early")
    bench = Bench(one)
    await until(lambda: bool(bench.given))
    bench.finish()
    assert await submission.result(RESULT_MS) == b"by one"


async def _delivered_again(ground: Ground, first: Bench, second: Bus, front: Bus) -> None:
    submission = await front.submit("jobs", b"x")
    await until(lambda: bool(first.given))
    heir = Bench(second)
    await ground.crash(first.bus)
    await until(lambda: bool(heir.given))
    assert [first.given[0].attempt, heir.given[0].attempt] == [1, 2]
    assert heir.given[0].id == first.given[0].id == submission.id
    heir.finish()
    assert await submission.result(RESULT_MS) == b"by two"


async def a_dead_workers_job_is_delivered_again(ground: Ground) -> None:
    front, one, two = await three(ground)
    bench = Bench(front)
    await until(lambda: front.statistics().get("jobs_workers") == 1)  # front keeps the queue
    bench.registration.close()
    await until(lambda: front.statistics().get("jobs_free_slots") == 0)
    await _delivered_again(ground, Bench(one), two, front)


async def a_job_of_a_worker_that_dies_with_the_queue_counts_its_attempts(ground: Ground) -> None:
    front, one, two = await three(ground)
    bench = Bench(one)
    await until(lambda: one.statistics().get("jobs_workers") == 1)  # one keeps the queue
    await _delivered_again(ground, bench, two, front)


async def a_failing_job_is_tried_again_until_it_is_dead_and_reported(ground: Ground) -> None:
    front, one, two = await three(ground)
    letters, attempts = Inbox(), list[int]()
    two.subscribe("work.dead.>", letters.take)
    await until(lambda: front.interested("work.dead.jobs"))

    def fail(job: Assignment) -> None:
        attempts.append(job.attempt)
        raise RuntimeError("no luck")

    one.work("jobs", fail, 1)
    submission = await front.submit("jobs", values.encode({"n": 1}))
    with pytest.raises(JobFailed, match="no luck") as raised:
        await submission.result(RESULT_MS)
    assert attempts == [1, 2, 3, 4, 5]
    assert raised.value.data["attempts"] == 5
    await until(lambda: len(letters.items) == 1)
    report = values.decode(letters.payloads[0])
    assert report == {
        "id": submission.id, "subject": "jobs", "attempts": 5,
        "reason": "RuntimeError: no luck", "payload": {"n": 1},
    }  # fmt: skip


async def a_rejected_job_is_not_tried_again(ground: Ground) -> None:
    front, one, _ = await three(ground)
    bench = Bench(one)
    submission = await front.submit("jobs", b"x")
    await until(lambda: bool(bench.given))
    bench.given[0].reject("never")
    with pytest.raises(JobFailed, match="never"):
        await submission.result(RESULT_MS)
    assert len(bench.given) == 1


async def a_full_queue_is_a_definite_no(ground: Ground) -> None:
    limits = BusLimits(queued_bytes=2 * 1024 * 1024, work=WorkLimits(waiting_jobs_max=3))
    front, other = await ground.open("front", limits), await ground.open("other", limits)
    await until(lambda: bool(front.peers() and other.peers()))
    accepted = [await front.submit("jobs", b"%d" % number) for number in range(3)]
    for bus in (front, other):
        with pytest.raises(Overloaded):
            await bus.submit("jobs", b"refused")
    bench = Bench(other, 10)
    await until(lambda: len(bench.given) == 3)
    bench.finish()
    assert [await job.result(RESULT_MS) for job in accepted] == [b"by other"] * 3
    assert {job.payload for job in bench.given} == {b"0", b"1", b"2"}


async def submitters_take_turns(ground: Ground) -> None:
    front, one, two = await three(ground)
    await front.submit("jobs", b"greedy")  # front keeps the queue
    for _ in range(19):
        await front.submit("jobs", b"greedy")
    modest = await one.submit("jobs", b"modest")
    bench = Bench(two)
    await until(lambda: len(bench.given) == 1)
    bench.finish()
    await until(lambda: len(bench.given) == 2)
    assert sorted(job.payload for job in bench.given) == [b"greedy", b"modest"]
    bench.given[1].done(b"soon")
    if bench.given[1].payload == b"modest":
        assert await modest.result(RESULT_MS) == b"soon"


async def jobs_outlive_the_process_that_keeps_the_queue(ground: Ground) -> None:
    front, one, two = await three(ground)
    bench = Bench(one)  # keeps the queue
    await until(lambda: one.statistics().get("jobs_workers") == 1)
    submissions = [await front.submit("jobs", b"%d" % number) for number in range(10)]
    await until(lambda: len(bench.given) == 1)
    await ground.crash(one)
    successor = Bench(two, 10)
    await until(lambda: len(successor.given) == 10)
    successor.finish()
    for submission in submissions:
        assert await submission.result(RESULT_MS) == b"by two"


async def jobs_outlive_their_submitter(ground: Ground) -> None:
    front, one, two = await three(ground)
    bench = Bench(one)
    await until(lambda: one.statistics().get("jobs_workers") == 1)
    for number in range(3):
        await front.submit("jobs", b"%d" % number)
    await ground.crash(front)
    for number in range(3):
        await until(lambda number=number: len(bench.given) == number + 1)  # type: ignore[misc]
        bench.finish()
    assert [job.payload for job in bench.given] == [b"0", b"1", b"2"]
    assert two.peers() == {"one"}


async def a_job_under_way_is_not_repeated_when_the_keeper_of_the_queue_dies(ground: Ground) -> None:
    front, one, two = await three(ground)
    keeper = await ground.open("keeper", QUICK)
    await until(lambda: len(keeper.peers()) == 3)
    Bench(keeper).registration.close()
    await until(lambda: keeper.statistics().get("jobs_workers") == 1)
    bench = Bench(one)
    submission = await front.submit("jobs", b"x")
    await until(lambda: bool(bench.given))
    idle = Bench(two)
    await until(lambda: keeper.statistics()["jobs_free_slots"] == 1)
    await ground.crash(keeper)
    heirs = (front, one, two)
    await until(lambda: any(bus.statistics().get("jobs_running") == 1 for bus in heirs))
    await until(lambda: any(bus.statistics().get("jobs_free_slots") == 1 for bus in heirs))
    await asyncio.sleep(0.2)  # four times what a new owner waits for workers
    assert (len(bench.given), len(idle.given)) == (1, 0)
    bench.finish()
    assert await submission.result(RESULT_MS) == b"by one"


async def an_orderly_end_of_everybody_loses_nothing(ground: Ground) -> None:
    front, one, two = await three(ground)
    await front.submit("jobs", b"kept")
    for bus in (front, one, two):
        await bus.close()
    late = await ground.open("late", QUICK)
    bench = Bench(late)
    await until(lambda: bool(bench.given))
    assert bench.given[0].payload == b"kept"


async def a_worker_that_leaves_finishes_what_it_has_and_gets_no_more(ground: Ground) -> None:
    front, one, two = await three(ground)
    bench = Bench(one)
    first = await front.submit("jobs", b"1")
    await until(lambda: bool(bench.given))
    bench.registration.close()
    second = await front.submit("jobs", b"2")
    bench.finish()
    assert await first.result(RESULT_MS) == b"by one"
    other = Bench(two)
    await until(lambda: bool(other.given))
    other.finish()
    assert await second.result(RESULT_MS) == b"by two"
    assert len(bench.given) == 1


async def misuse_of_work_is_refused(ground: Ground) -> None:
    bus = await ground.open("one", QUICK)
    bus.work("jobs", lambda job: None, 1)
    with pytest.raises(BusError):
        bus.work("jobs", lambda job: None, 1)
    with pytest.raises(BusError):
        bus.work("other", lambda job: None, 0)
    with pytest.raises(BusError):
        await bus.submit("a.*", b"")
    with pytest.raises(BusError):
        await bus.submit("a" * 201, b"")
    with pytest.raises(MessageTooLarge):
        await bus.submit("jobs", bytes(512 * 1024))


async def kills_in_any_order_lose_no_job_and_end_each_once(ground: Ground) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    await _under_kills(ground, random.Random(seed))


async def _under_kills(ground: Ground, chance: random.Random) -> None:
    front = await ground.open("front", STUBBORN)
    done: Counter[bytes] = Counter()
    crashed: set[Bus] = set()
    workers: list[Bus] = []

    def worker(name: str) -> Callable[[Assignment], None]:
        def work(job: Assignment) -> None:
            def finish() -> None:
                if workers[int(name[1:])] not in crashed and not job.ended:
                    done[job.payload] += 1
                    job.done()

            asyncio.get_running_loop().call_later(chance.random() * 0.01, finish)

        return work

    async def hire() -> None:
        name = f"w{len(workers)}"
        bus = await ground.open(name, STUBBORN)
        workers.append(bus)
        bus.work("jobs", worker(name), 2)

    await hire()
    await hire()
    submissions: list[Submission] = []
    kills = 0
    for number in range(200):
        submissions.append(await front.submit("jobs", b"%d" % number))
        if chance.random() < 0.04:
            kills += 1
            victim = chance.choice([bus for bus in workers if bus not in crashed])
            crashed.add(victim)
            await ground.crash(victim)
            await hire()
    for submission in submissions:
        await submission.result(RESULT_MS)
    assert set(done) == {b"%d" % number for number in range(200)}
    # A second run needs a kill between the work and the word of it: two at most for each kill.
    assert sum(done.values()) <= 200 + 2 * kills


SCENARIOS: list[Scenario] = [
    value
    for value in list(globals().values())
    if asyncio.iscoroutinefunction(value)
    and value.__module__ == __name__
    and value not in (three, _delivered_again, _under_kills)
]
