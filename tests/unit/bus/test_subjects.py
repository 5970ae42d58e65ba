"""The subject table agrees with a plain token-by-token comparison, cached or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.bus.errors import InvalidSubject
from madang.bus.subjects import CACHE_ENTRIES_MAX, SubjectTable, check_pattern, check_subject

tokens = st.sampled_from(["a", "b", "c"])
subjects = st.lists(tokens, min_size=1, max_size=4).map(".".join)
patterns = st.builds(
    lambda head, tail: ".".join([*head, *tail]),
    st.lists(st.sampled_from(["a", "b", "c", "*"]), min_size=1, max_size=3),
    st.sampled_from([[], [">"]]),
) | st.just(">")
steps = st.lists(
    st.tuples(st.sampled_from(["add", "discard", "match"]), patterns, st.integers(0, 2), subjects),
    max_size=60,
)


def matches(pattern: str, subject: str) -> bool:
    """Compare token by token: the rule in its plainest form."""
    wanted, given_ = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(given_) <= len(wanted):
            return False
        given_ = given_[: len(wanted)]
    return len(wanted) == len(given_) and all(
        want in ("*", token) for want, token in zip(wanted, given_, strict=True)
    )


@given(steps)
def test_table_agrees_with_the_plain_rule(sequence: list[tuple[str, str, int, str]]) -> None:
    table: SubjectTable[int] = SubjectTable()
    model: set[tuple[str, int]] = set()
    for action, pattern, value, subject in sequence:
        if action == "add":
            assert table.add(pattern, value) == ((pattern, value) not in model)
            model.add((pattern, value))
        elif action == "discard":
            assert table.discard(pattern, value) == ((pattern, value) in model)
            model.discard((pattern, value))
        expected = {value for pattern, value in model if matches(pattern, subject)}
        found = table.match(subject)
        assert len(found) == len(set(found))
        assert set(found) == expected
        for value in range(3):
            assert set(table.patterns(subject, value)) == {
                pattern for pattern, owner in model if owner == value and matches(pattern, subject)
            }
        assert len(table) == len(model)


def test_removed_patterns_leave_no_branches() -> None:
    table: SubjectTable[int] = SubjectTable()
    for number in range(1000):
        table.add(f"venue.events.{number}", 1)
    for number in range(1000):
        table.discard(f"venue.events.{number}", 1)
    assert not table._root.children


def test_cache_is_bounded() -> None:
    table: SubjectTable[int] = SubjectTable()
    for number in range(CACHE_ENTRIES_MAX + 10):
        table.match(f"s.{number}")
    assert len(table._cache) <= CACHE_ENTRIES_MAX


@pytest.mark.parametrize("subject", ["", ".", "a.", ".a", "a..b", "a b", "a\n", "*", ">", "é"])
def test_what_is_no_subject_is_refused(subject: str) -> None:
    with pytest.raises(InvalidSubject):
        check_subject(subject)


@pytest.mark.parametrize("pattern", ["", ">.a", "a.>.b", "a*", "a.b>", "**", "a..*"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidSubject):
        check_pattern(pattern)


@pytest.mark.parametrize("subject", ["a", "market.book.BRK/B", "venue.events.12", "A-b_c:d,e"])
def test_subjects_may_use_printable_ascii(subject: str) -> None:
    check_subject(subject)
    check_pattern(subject)
