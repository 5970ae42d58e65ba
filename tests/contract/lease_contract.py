"""What every lease adapter must do. A new adapter joins with one line in test_lease.py.

A factory gives a new adapter over the same place each time it is called.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from madang.bus.errors import InvalidSubject, LeaseTaken
from madang.bus.lease import Lease

Factory = Callable[[], Lease]


def the_first_epoch_is_one_and_each_next_is_greater(factory: Factory) -> None:
    epochs = []
    for _ in range(5):
        held = factory().acquire("venue")
        epochs.append(held.epoch)
        held.release()
    assert epochs == [1, 2, 3, 4, 5]


def a_held_lease_is_taken_for_everybody_else(factory: Factory) -> None:
    lease = factory()
    held = lease.acquire("venue")
    for other in (lease, factory()):
        with pytest.raises(LeaseTaken):
            other.acquire("venue")
    held.release()
    assert factory().acquire("venue").epoch == 2


def a_refused_acquisition_raises_no_epoch(factory: Factory) -> None:
    held = factory().acquire("venue")
    for _ in range(3):
        with pytest.raises(LeaseTaken):
            factory().acquire("venue")
    held.release()
    assert factory().acquire("venue").epoch == held.epoch + 1


def a_second_release_frees_nothing_that_others_hold(factory: Factory) -> None:
    held = factory().acquire("venue")
    held.release()
    successor = factory().acquire("venue")
    held.release()
    with pytest.raises(LeaseTaken):
        factory().acquire("venue")
    successor.release()


def names_are_independent(factory: Factory) -> None:
    lease = factory()
    assert lease.acquire("one").epoch == 1
    assert lease.acquire("two").epoch == 1


def a_name_is_no_path(factory: Factory) -> None:
    for name in ("", "../venue", "a/b", ".hidden", "a" * 65):
        with pytest.raises(InvalidSubject):
            factory().acquire(name)


def a_note_reaches_the_next_holder_and_nobody_after(factory: Factory) -> None:
    note = bytes(range(256)) * 5000
    held = factory().acquire("venue")
    assert held.note == b""
    held.release(note)
    second = factory().acquire("venue")
    assert second.note == note
    second.release()
    third = factory().acquire("venue")
    assert third.note == b""
    third.release(b"short")
    assert factory().acquire("venue").note == b"short"


SCENARIOS: list[Callable[[Factory], None]] = [
    the_first_epoch_is_one_and_each_next_is_greater,
    a_held_lease_is_taken_for_everybody_else,
    a_refused_acquisition_raises_no_epoch,
    a_second_release_frees_nothing_that_others_hold,
    names_are_independent,
    a_name_is_no_path,
    a_note_reaches_the_next_holder_and_nobody_after,
]
