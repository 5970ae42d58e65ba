"""The package's functions, as an application uses them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from madang import bus
from madang.bus import application, handlers, values
from madang.bus.errors import BusError
from madang.bus.port import UNKNOWN_LOSS

LIMIT_S = 10.0
Kept = list[bus.Declaration]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Declarations of a test, withdrawn after it."""
    before = set(application._declarations)
    yield []
    for declaration in set(application._declarations) - before:
        declaration.close()


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S), bus.session():
            await main()

    asyncio.run(limited())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"raw",
        b"\x1e{}",
        b"\x1f",
        b"\x1f\x1e",
        None,
        0,
        "text",
        [1, "a", None],
        {"a": {"b": 1.5}},
    ],
)
def test_a_payload_arrives_as_it_was_given(value: object) -> None:
    assert values.decode(values.encode(value)) == value


def test_what_is_neither_bytes_nor_json_is_refused() -> None:
    for value in (object(), {1j: 2}, float):
        with pytest.raises(values.NotJson):
            values.encode(value)


def test_bytes_of_others_that_look_marked_are_left_alone() -> None:
    assert values.decode(b"\x1e\xff\x00") == b"\x1e\xff\x00"


def test_before_the_session_the_error_says_what_to_do() -> None:
    with pytest.raises(bus.BusNotOpen, match=r"bus\.run\(\)"):
        bus.publish("a", 1)
    for call in (bus.request("a"), bus.submit("a")):
        with pytest.raises(bus.BusNotOpen):
            asyncio.run(call)


def test_messages_reach_plain_and_async_handlers_in_order(kept: Kept) -> None:
    plain: list[object] = []
    slow: list[object] = []

    @bus.subscribe("prices.*")
    def on_price(message: bus.Received) -> None:
        plain.append((message.subject, message.payload))

    @bus.subscribe("prices.>")
    async def on_price_slowly(message: bus.Received) -> None:
        await asyncio.sleep(0.005 if not slow else 0)
        slow.append(message.payload)

    async def main() -> None:
        for number in range(20):
            bus.publish("prices.ACME", {"n": number})
        await until(lambda: len(slow) == 20)

    run(main)
    assert plain == [("prices.ACME", {"n": number}) for number in range(20)]
    assert slow == [{"n": number} for number in range(20)]


def test_an_async_handler_that_falls_behind_is_told_of_the_gap(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "WAITING_MESSAGES_MAX", 5)
    seen: list[object] = []
    gate = asyncio.Event()

    async def take(message: bus.Received) -> None:
        await gate.wait()
        seen.append(message.payload)

    async def main() -> None:
        bus.subscribe("n", take, on_gap=lambda gap: seen.append(("gap", gap.lost)))
        for number in range(10):
            bus.publish("n", number)
        await asyncio.sleep(0.01)
        gate.set()
        await until(lambda: len(seen) == 6)

    run(main)
    assert seen == [0, 1, 2, 3, 4, ("gap", 5)]


def test_a_question_is_answered_or_refused_in_the_handlers_words(kept: Kept) -> None:
    @bus.serve("double")
    async def double(request: bus.Received) -> int:
        await asyncio.sleep(0)
        return int(request.payload) * 2

    @bus.serve("fail")
    def fail(request: bus.Received) -> None:
        raise ValueError("not today")

    async def main() -> None:
        assert await bus.request("double", 21) == 42
        with pytest.raises(bus.RequestRefused, match="ValueError: not today"):
            await bus.request("fail")
        with pytest.raises(bus.RequestRefused, match="invalid literal"):
            await bus.request("double", "x")
        with pytest.raises(bus.NoServer):
            await bus.request("nobody")

    run(main)


def test_jobs_run_in_threads_or_on_the_loop_and_give_their_result(kept: Kept) -> None:
    threads: list[str] = []

    @bus.work("plain", at_once=2)
    def plain(job: bus.Job) -> dict[str, object]:
        threads.append(threading.current_thread().name)
        return {"got": job.payload, "attempt": job.attempt}

    @bus.work("later")
    async def later(job: bus.Job) -> None:
        if job.attempt < 3:
            raise RuntimeError("try again")

    @bus.work("never")
    async def never(job: bus.Job) -> None:
        raise bus.Reject("no such file")

    async def main() -> None:
        submission = await bus.submit("plain", "x")
        assert await submission.result() == {"got": "x", "attempt": 1}
        assert await (await bus.submit("later")).result() is None
        with pytest.raises(bus.JobFailed, match="no such file"):
            await (await bus.submit("never")).result()

    run(main)
    assert threads == [name for name in threads if name.startswith("madang-job")] != []


def test_a_thread_may_publish(kept: Kept) -> None:
    seen: list[object] = []
    bus.subscribe("n", lambda message: seen.append(message.payload))

    async def main() -> None:
        await asyncio.to_thread(bus.publish, "n", 1)
        await until(lambda: bool(seen))

    run(main)
    assert seen == [1]


def test_declarations_hold_in_every_session_until_they_are_closed(kept: Kept) -> None:
    seen: list[object] = []
    declaration = bus.subscribe("n", lambda message: seen.append(message.payload))

    async def main() -> None:
        bus.publish("n", 1)
        await asyncio.sleep(0.01)

    run(main)
    run(main)
    assert seen == [1, 1]
    declaration.close()
    run(main)
    assert seen == [1, 1]


def test_a_second_session_and_reserved_subjects_are_refused(kept: Kept) -> None:
    async def main() -> None:
        with pytest.raises(BusError, match="is open"):
            async with bus.session():
                pass
        with pytest.raises(BusError, match="belong to Madang"):
            bus.publish("_work.x", 1)

    run(main)
    with pytest.raises(BusError, match="at_once"):
        bus.work("x", at_once=0)


def test_leaving_waits_for_what_handlers_do(kept: Kept) -> None:
    ended: list[int] = []

    @bus.subscribe("n")
    async def slowly(message: bus.Received) -> None:
        await asyncio.sleep(0.05)
        ended.append(message.payload)

    async def main() -> None:
        bus.publish("n", 1)
        await asyncio.sleep(0.01)

    run(main)
    assert ended == [1]


def test_a_failing_handler_loses_its_message_only(kept: Kept) -> None:
    seen: list[object] = []

    @bus.subscribe("n")
    def take(message: bus.Received) -> None:
        if message.payload == 1:
            raise ValueError("not this one")
        seen.append(message.payload)

    async def main() -> None:
        for number in range(5):
            bus.publish("n", number)
        await until(lambda: 4 in seen)

    run(main)
    assert seen == [0, 2, 3, 4]


def test_gaps_of_a_handler_that_hangs_are_one_for_each_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handlers, "WAITING_MESSAGES_MAX", 3)
    monkeypatch.setattr(handlers, "WAITING_GAPS_MAX", 4)
    gate = asyncio.Event()
    seen: list[object] = []

    async def take(message: bus.Received) -> None:
        await gate.wait()
        seen.append(message.payload)

    async def main() -> None:
        runner = handlers.MessageRunner(take, seen.append, handlers.Tasks())
        place = bus.memory_bus_hub().open("one")
        runner.subscribe(place, "n", raw=True)
        for _ in range(50):
            for _ in range(10):
                place.publish("n", b"x")
            await asyncio.sleep(0)
        runner.gap(bus.Gap("two", "n", 7))
        runner.gap(bus.Gap("two", "n", UNKNOWN_LOSS))
        assert len(runner._waiting) <= 3 + 2
        for number in range(20):
            runner.gap(bus.Gap(f"peer{number}", "n", 1))
        assert len(runner._waiting) <= 3 + 4
        gate.set()
        await until(lambda: len(seen) > 4 and not runner._waiting)
        await place.close()

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))
    gaps = {gap.peer: gap.lost for gap in seen if isinstance(gap, bus.Gap)}
    further = 20 - (4 - 2)  # peers beyond the limit of gaps, added to the oldest
    assert gaps["one"] + len([one for one in seen if one == b"x"]) == 500 + further
    assert gaps["two"] == UNKNOWN_LOSS


def test_no_more_questions_are_handled_at_once_than_the_limit_says(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "QUESTIONS_AT_ONCE_MAX", 5)
    gate = asyncio.Event()
    running = most = 0

    @bus.serve("slow")
    async def slow(request: bus.Received) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return 1

    async def main() -> None:
        asked = [asyncio.ensure_future(bus.request("slow")) for _ in range(30)]
        await until(lambda: running + sum(one.done() for one in asked) == 30)
        gate.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one for one in answers if isinstance(one, bus.RequestRefused)]
        assert (len(refused), answers.count(1)) == (25, 5)
        assert await bus.request("slow") == 1

    run(main)
    assert most == 5
