"""The choice of a slot, checked by running the program in a small interpreter and in the kernel."""

from __future__ import annotations

import select
import socket
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.cluster import steering
from madang.cluster.errors import PortTaken
from madang.cluster.ports import Port
from madang.cluster.settings import PortSettings

subsets = st.integers(1, 256).flatmap(
    lambda slots: st.tuples(st.just(slots), st.frozensets(st.integers(0, slots - 1)))
)


def execute(code: list[steering.Instruction], random: int) -> int:
    """Run the instructions that the program uses, as the kernel does."""
    accumulator, position = 0, 0
    while True:
        operation, if_true, if_false, value = code[position]
        position += 1
        if operation == steering.LOAD_RANDOM[0]:
            assert value == steering.LOAD_RANDOM[3]
            accumulator = random
        elif operation == steering.MODULO:
            accumulator %= value
        elif operation == steering.JUMP_EQUAL:
            position += if_true if accumulator == value else if_false
        else:
            assert operation == steering.RETURN_CONSTANT
            return value


@given(subsets)
def test_the_program_spreads_evenly_over_the_live_slots(case: tuple[int, frozenset[int]]) -> None:
    slots, live = case
    chosen = sorted(live) or list(range(slots))
    code = steering.program(live, slots)
    assert [execute(code, number) for number in range(len(chosen))] == chosen
    assert len(code) <= 4096


@given(subsets)
def test_every_absent_slot_has_one_live_neighbour(case: tuple[int, frozenset[int]]) -> None:
    slots, live = case
    found = steering.neighbours(live, slots)
    if live:
        assert set(found) == set(range(slots)) - live
        assert set(found.values()) <= live
    else:
        assert found == {}


def test_the_neighbour_is_the_next_live_slot_round_the_circle() -> None:
    assert steering.neighbours({1, 3}, 5) == {0: 1, 2: 3, 4: 1}


@pytest.mark.parametrize("live", [{0}, {2}, {0, 2}, {1, 3}, set()])
def test_the_kernel_gives_connections_to_live_slots_only(live: set[int]) -> None:
    port = Port(PortSettings("http", "127.0.0.1", 0), 4, 256)
    port.steer(frozenset(live), {})
    counts: Counter[int] = Counter()
    try:
        for _ in range(120):
            with socket.create_connection(port.address, timeout=5):
                counts[_accept_anywhere(port)] += 1
    finally:
        port.close()
    assert set(counts) == (live or {0, 1, 2, 3})


def test_the_kernel_draws_by_shares() -> None:
    port = Port(PortSettings("http", "127.0.0.1", 0), 3, 256)
    port.steer(frozenset({0, 2}), {0: 0.9, 2: 0.1})
    counts: Counter[int] = Counter()
    try:
        for _ in range(300):
            with socket.create_connection(port.address, timeout=5):
                counts[_accept_anywhere(port)] += 1
    finally:
        port.close()
    assert set(counts) == {0, 2}
    assert 5 <= counts[2] <= 70  # 30 on average; outside of this once in a billion runs


def test_a_port_grows_and_shrinks_at_its_end_and_counts_who_waits() -> None:
    port = Port(PortSettings("http", "127.0.0.1", 0), 1, 256)
    try:
        port.add()
        port.steer(frozenset({1}), {})
        with socket.create_connection(port.address, timeout=5):
            assert (port.queued(0), port.queued(1)) == (0, 1)
            assert _accept_anywhere(port) == 1
        copy = port.listeners[1].dup()
        port.steer(frozenset({0}), {})
        port.remove()
        port.add()  # the copy elsewhere is no member of the group any more
        port.steer(frozenset({1}), {})
        with socket.create_connection(port.address, timeout=5):
            assert _accept_anywhere(port) == 1
        copy.close()
    finally:
        port.close()


def test_two_ports_never_share_an_address_by_accident() -> None:
    first = Port(PortSettings("http", "127.0.0.1", 0), 2, 16)
    try:
        with pytest.raises(PortTaken, match="cannot listen on"):
            Port(PortSettings("http", "127.0.0.1", first.address[1]), 2, 16)
    finally:
        first.close()


def _accept_anywhere(port: Port) -> int:
    readable, _, _ = select.select(port.listeners, [], [], 5)
    assert len(readable) == 1
    client, _ = readable[0].accept()
    client.close()
    return port.listeners.index(readable[0])
