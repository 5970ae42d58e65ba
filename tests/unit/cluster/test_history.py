"""The supervisor's hour of figures."""

from __future__ import annotations

from madang.cluster.history import FIELDS, PERIOD_S, POINTS, History


def figures(value: float) -> list[float]:
    return [value] * len(FIELDS)


def point(history: History, **found: float) -> None:
    for _ in range(PERIOD_S):
        history.take({name: figures(value) for name, value in found.items()})


def column(answer: dict[str, object], name: str, field: str) -> list[float | None]:
    applications = answer["applications"]
    assert isinstance(applications, dict)
    found: list[float | None] = applications[name][field]
    return found


def test_peaks_are_kept_and_levels_are_the_last() -> None:
    history = History()
    for value in (1.0, 9.0, *[2.0] * (PERIOD_S - 2)):
        history.take({"web": figures(value)})
    answer = history.answer()
    assert column(answer, "web", "lag_ms") == [9]
    assert column(answer, "web", "cpu_percent") == [9]
    assert column(answer, "web", "connections") == [2]
    assert (answer["first"], answer["next"]) == (0, 1)


def test_a_point_begins_anew() -> None:
    history = History()
    point(history, web=9)
    point(history, web=3)
    assert column(history.answer(), "web", "lag_ms") == [9, 3]


def test_an_hour_is_kept_and_what_is_missing_is_none() -> None:
    history = History()
    for at in range(POINTS + 5):
        point(history, web=at)
    point(history, web=-1, late=7)
    answer = history.answer()
    assert column(answer, "web", "ready") == [*range(6, POINTS + 5), -1]
    assert column(answer, "late", "ready") == [None] * (POINTS - 1) + [7]


def test_who_asks_again_gets_what_is_new() -> None:
    history = History()
    point(history, web=1)
    point(history, web=2)
    answer = history.answer(after=1)
    assert (answer["first"], answer["next"]) == (1, 2)
    assert column(answer, "web", "ready") == [2]
    assert column(history.answer(after=2), "web", "ready") == []
    for nonsense in (-1, 3, "x", None, 0):
        assert column(history.answer(after=nonsense), "web", "ready") == [1, 2]


def test_an_application_that_is_gone_is_forgotten_after_an_hour() -> None:
    history = History()
    point(history, web=1, gone=1)
    for _ in range(POINTS - 1):
        point(history, web=1)
    assert column(history.answer(), "gone", "ready")[0] == 1
    point(history, web=1)
    assert "gone" not in str(history.answer()["applications"])
