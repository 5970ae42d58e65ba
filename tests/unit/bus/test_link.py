"""Which of two links stays: both ends must choose the same, whatever the order of events."""

from __future__ import annotations

from itertools import product

import pytest

from madang.bus.link import Calls, Known, Verdict, decide

OLD, YOUNG = 5, 9


def test_the_only_link_is_kept() -> None:
    assert decide("a", "b", None, Known(OLD, False, True)) is Verdict.KEEP


@pytest.mark.parametrize(("established", "ours", "theirs"), list(product([False, True], repeat=3)))
def test_a_younger_process_wins_and_an_older_one_is_refused(
    established: bool, ours: bool, theirs: bool
) -> None:
    young = decide("a", "b", Known(OLD, established, ours), Known(YOUNG, False, theirs))
    old = decide("a", "b", Known(YOUNG, established, ours), Known(OLD, False, theirs))
    assert (young, old) == (Verdict.REPLACE, Verdict.OUTDATED)


@pytest.mark.parametrize(("ours", "theirs"), list(product([False, True], repeat=2)))
def test_an_established_link_yields_to_a_new_one(ours: bool, theirs: bool) -> None:
    verdict = decide("a", "b", Known(OLD, True, ours), Known(OLD, False, theirs))
    assert verdict is Verdict.REPLACE


@pytest.mark.parametrize(("us", "peer"), [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("greeted", [0, OLD])
def test_crossing_dials_leave_the_link_of_the_smaller_name(
    us: str, peer: str, greeted: int
) -> None:
    # We dialled; the peer's dial arrives and says HELLO.
    incoming = decide(us, peer, Known(greeted, False, True), Known(OLD, False, False))
    kept_is_ours = incoming is Verdict.DUPLICATE
    assert kept_is_ours == (us < peer)
    # The peer sees it the other way round and keeps the same link.
    seen_there = decide(peer, us, Known(greeted, False, True), Known(OLD, False, False))
    assert (seen_there is Verdict.REPLACE) == kept_is_ours


def test_calls_tell_what_was_handed_over() -> None:
    calls: Calls[str] = Calls(3)
    assert [calls.add(name, start) for name, start in (("a", 0), ("b", 100), ("c", 200))] == [
        1,
        2,
        3,
    ]
    assert calls.full
    assert calls.pop(2) == "b"
    assert calls.pop(2) is None
    assert list(calls.drain(200)) == [("a", True), ("c", False)]
    assert len(calls) == 0
