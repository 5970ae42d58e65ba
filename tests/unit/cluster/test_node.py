"""What balancers hear of a machine: the operator's wish and the agent's line."""

from __future__ import annotations

from pathlib import Path

import pytest

from madang.cluster.agent import agent_line
from madang.cluster.node import (
    FILE,
    NodeFileError,
    NodeState,
    NodeWatch,
    NodeWish,
    read_wish,
    write_wish,
)

WATCHED = frozenset({"worker"})


def rows(*states: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = [{"app": "worker", "state": state} for state in states]
    return [*found, {"app": "venue", "state": "errored"}]


def test_a_wish_is_kept_and_seen_by_whoever_watches(tmp_path: Path) -> None:
    watch = NodeWatch(tmp_path)
    assert watch.wish() == read_wish(tmp_path) == NodeWish()
    for wish in (NodeWish(NodeState.DRAIN), NodeWish(NodeState.READY, 40)):
        write_wish(tmp_path, wish)
        assert watch.wish() == read_wish(tmp_path) == wish
    (tmp_path / FILE).unlink()
    assert watch.wish() == NodeWish()


def test_a_damaged_wish_is_said_and_the_last_one_stands(tmp_path: Path) -> None:
    watch = NodeWatch(tmp_path)
    write_wish(tmp_path, NodeWish(NodeState.DRAIN))
    assert watch.wish().state is NodeState.DRAIN
    for damage in ("", "{", "[]", '{"state": "gone", "weight_percent": 1}'):
        (tmp_path / FILE).write_text(damage)
        with pytest.raises(NodeFileError, match="madang balancer ready"):
            read_wish(tmp_path)
        assert watch.wish().state is NodeState.DRAIN


@pytest.mark.parametrize(
    ("wish", "states", "line"),
    [
        (NodeWish(), ("ready", "ready"), "up ready 100%"),
        (NodeWish(), ("ready", "backoff", "starting", "ready"), "up ready 50%"),
        (NodeWish(weight_percent=30), ("ready", "stalled"), "up ready 15%"),
        (NodeWish(weight_percent=1), ("ready", "errored"), "up ready 1%"),
        (NodeWish(), ("errored",), "down #no instance is ready"),
        (NodeWish(), (), "down #no instance is ready"),
        (NodeWish(NodeState.DRAIN), ("ready",), "up drain"),
        (NodeWish(NodeState.MAINTENANCE), ("ready",), "maint"),
    ],
)
def test_the_agent_says_what_the_machine_can_take(
    wish: NodeWish, states: tuple[str, ...], line: str
) -> None:
    assert agent_line(wish, rows(*states), WATCHED) == line


def test_a_silent_supervisor_is_down() -> None:
    assert agent_line(NodeWish(), None, WATCHED).startswith("down #")
