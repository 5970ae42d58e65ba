"""Procedures: they go on when their condition is true, end with a state, and exclude each other."""

from __future__ import annotations

import pytest

from madang.cluster.errors import OperationRefused
from madang.cluster.operations import (
    KEPT_MAX,
    Operation,
    OperationFailed,
    Operations,
    OperationState,
    Procedure,
    RolledBack,
)


def test_a_procedure_goes_on_when_its_condition_is_true() -> None:
    ended: list[Operation] = []
    operations = Operations(ended.append)
    may_go: set[str] = set()

    def procedure(operation: Operation) -> Procedure:
        operation.say("one")
        yield lambda: "first" in may_go
        operation.say("two")
        yield lambda: "second" in may_go

    found = operations.begin("reload", "web", ["web"], procedure)
    operations.pump()
    assert [step["text"] for step in found.steps] == ["one"]
    may_go |= {"first", "second"}
    operations.pump()
    assert (found.state, ended) == (OperationState.DONE, [found])
    assert [step["text"] for step in found.steps] == ["one", "two", "done"]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (OperationFailed("no"), OperationState.FAILED),
        (RolledBack("no"), OperationState.ROLLED_BACK),
    ],
)
def test_a_procedure_ends_as_it_says(error: Exception, state: OperationState) -> None:
    operations = Operations(lambda _: None)

    def procedure(_: Operation) -> Procedure:
        yield lambda: True
        raise error

    found = operations.begin("reload", "web", ["web"], procedure)
    operations.pump()
    assert (found.state, found.reason) == (state, "no")


def test_one_application_has_one_operation_and_a_cancelled_one_tidies_up() -> None:
    operations = Operations(lambda _: None)
    tidied: list[str] = []

    def procedure(operation: Operation) -> Procedure:
        try:
            yield lambda: False
        finally:
            tidied.append(operation.name)

    first = operations.begin("scale", "web", ["web", "db"], procedure)
    operations.pump()
    with pytest.raises(OperationRefused, match=r"db is busy: operation 1 \(scale web\) runs"):
        operations.begin("reload", "all", ["db"], procedure)
    operations.begin("reload", "other", ["other"], procedure)
    operations.cancel("db", "superseded", OperationState.DONE)
    assert (first.state, first.reason, tidied) == (OperationState.DONE, "superseded", ["web"])
    assert [operation.name for operation in operations.running()] == ["other"]


def test_the_last_operations_are_remembered_and_those_that_run() -> None:
    operations = Operations(lambda _: None)

    def endless(_: Operation) -> Procedure:
        yield lambda: False

    def short(_: Operation) -> Procedure:
        yield lambda: True

    running = operations.begin("reload", "slow", ["slow"], endless)
    last = running
    for _ in range(KEPT_MAX + 10):
        last = operations.begin("scale", "web", ["web"], short)
        operations.pump()
    assert operations.find(running.id) is running
    assert operations.find(last.id) is last
    assert operations.find(2) is None
    assert len(operations.last(10_000)) == KEPT_MAX
