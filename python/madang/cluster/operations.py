"""What the operator asked for and is under way: each a procedure that says what it waits for.

A procedure is a generator that yields conditions; the loop looks at them after every turn, so it
reads from top to bottom and yet never blocks. One operation at a time has an application; ending
one early closes its generator, whose `finally` leaves things in order.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from madang.cluster.errors import OperationRefused
from madang.core.errors import MadangError

KEPT_MAX = 200
STEPS_MAX = 1_000
REASON_CHARACTERS_MAX = 4_000

Condition = Callable[[], bool]
Procedure = Generator[Condition, None, None]


class OperationState(StrEnum):
    """How far an operation is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class OperationFailed(Exception):
    """Raised by a procedure that could not do what was asked; the reason is its text."""


class RolledBack(Exception):
    """Raised by a procedure that did, and undid it again; the reason is its text."""


@dataclass(slots=True, eq=False)
class Operation:
    """One operation as the operator sees it."""

    id: int
    kind: str
    name: str
    applications: frozenset[str]
    state: OperationState = OperationState.RUNNING
    steps: list[dict[str, object]] = field(default_factory=list)
    reason: str = ""
    outcomes: list[dict[str, object]] = field(default_factory=list)
    """What became of each name, where the operation goes through several."""
    procedure: Procedure | None = None
    waiting: Condition | None = None

    def say(self, text: str) -> None:
        """Note a step."""
        if len(self.steps) < STEPS_MAX:
            self.steps.append({"at": round(time.time(), 3), "text": text})

    def answer(self) -> dict[str, object]:
        """Return its JSON form."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "state": str(self.state),
            "steps": self.steps,
            "reason": self.reason,
            "outcomes": self.outcomes,
        }


class Operations:
    """Those that run, and the last KEPT_MAX that have ended."""

    def __init__(self, on_end: Callable[[Operation], None]) -> None:
        self._on_end = on_end
        self._ids = itertools.count(1)
        self._kept: dict[int, Operation] = {}
        self._pumping = False

    def begin(
        self,
        kind: str,
        name: str,
        applications: Iterable[str],
        procedure: Callable[[Operation], Procedure],
    ) -> Operation:
        """Start a procedure. Raises OperationRefused while another has one of `applications`."""
        wanted = frozenset(applications)
        for other in self.running():
            if other.applications & wanted:
                busy = ", ".join(sorted(other.applications & wanted))
                text = f"{busy} is busy: operation {other.id} ({other.kind} {other.name}) runs"
                raise OperationRefused(text, operation=other.id)
        operation = Operation(next(self._ids), kind, name, wanted)
        self._kept[operation.id] = operation
        for old in list(self._kept):
            if len(self._kept) <= KEPT_MAX:
                break
            if self._kept[old].state is not OperationState.RUNNING:
                del self._kept[old]
        operation.procedure = procedure(operation)
        return operation

    def leave(self) -> list[dict[str, object]]:
        """Return every operation that is remembered, for a successor."""
        return [
            {**operation.answer(), "applications": sorted(operation.applications)}
            for operation in self._kept.values()
        ]

    def take_over(self, share: list[dict[str, Any]]) -> Operation:
        """Remember what another of us left; return the one that runs, which is our own coming."""
        for left in share:
            operation = Operation(left["id"], left["kind"], left["name"], frozenset())
            operation.applications = frozenset(left["applications"])
            operation.state = OperationState(left["state"])
            operation.steps, operation.reason = left["steps"], left["reason"]
            operation.outcomes = left.get("outcomes", [])
            self._kept[operation.id] = operation
        self._ids = itertools.count(max(self._kept) + 1)
        return self.running()[0]

    def end(self, operation: Operation) -> None:
        """End an operation that has no procedure any more, as done."""
        self._end(operation, OperationState.DONE, "")

    def running(self) -> list[Operation]:
        """Return the operations under way, oldest first."""
        return [o for o in self._kept.values() if o.state is OperationState.RUNNING]

    def busy(self, application: str) -> bool:
        """Whether an operation has `application`."""
        return any(application in operation.applications for operation in self.running())

    def last(self, count: int) -> list[Operation]:
        """Return the newest operations, oldest first."""
        return list(self._kept.values())[-count:]

    def find(self, number: object) -> Operation | None:
        """Return operation `number`."""
        return self._kept.get(number) if isinstance(number, int) else None

    def pump(self) -> None:
        """Let every procedure go on whose condition has come true."""
        if self._pumping:
            return
        self._pumping = True
        try:
            for operation in self.running():
                self._advance(operation)
        finally:
            self._pumping = False

    def _advance(self, operation: Operation) -> None:
        while operation.state is OperationState.RUNNING:
            if operation.waiting is not None and not operation.waiting():
                return
            assert operation.procedure is not None
            try:
                operation.waiting = next(operation.procedure)
            except StopIteration:
                self._end(operation, OperationState.DONE, "")
            except RolledBack as reason:
                self._end(operation, OperationState.ROLLED_BACK, str(reason))
            except OperationFailed as reason:
                self._end(operation, OperationState.FAILED, str(reason))
            except MadangError as error:
                self._end(operation, OperationState.FAILED, error.message)
            except OSError as error:  # the system refuses: that must end nothing else
                self._end(operation, OperationState.FAILED, f"the system refuses: {error}")

    def cancel(self, application: str, reason: str, state: OperationState) -> None:
        """End what has `application`, as `state` and with that reason."""
        for operation in self.running():
            if application in operation.applications:
                if operation.procedure is not None:
                    operation.procedure.close()
                self._end(operation, state, reason)

    def _end(self, operation: Operation, state: OperationState, reason: str) -> None:
        operation.state = state
        operation.reason = reason[:REASON_CHARACTERS_MAX]
        operation.procedure = operation.waiting = None
        operation.say(f"{state}: {reason}" if reason else str(state))
        self._on_end(operation)


def one_after_the_other(
    operation: Operation, names: Sequence[str], procedure: Callable[[Operation, str], Procedure]
) -> Procedure:
    """Go through `names`; of several one that fails does not keep the others from their turn."""
    if len(names) == 1:
        yield from procedure(operation, names[0])
        return
    for name in names:
        state, reason = OperationState.DONE, ""
        try:
            yield from procedure(operation, name)
        except RolledBack as error:
            state, reason = OperationState.ROLLED_BACK, str(error)
        except OperationFailed as error:
            state, reason = OperationState.FAILED, str(error)
        except MadangError as error:
            state, reason = OperationState.FAILED, error.message
        except OSError as error:
            state, reason = OperationState.FAILED, f"the system refuses: {error}"
        reason = reason[:REASON_CHARACTERS_MAX]
        operation.outcomes.append({"name": name, "state": str(state), "reason": reason})
        operation.say(f"{name}: {state.replace('_', ' ')}")
    failed = [one for one in operation.outcomes if one["state"] != OperationState.DONE]
    if failed:
        raise OperationFailed("\n".join(f"{one['name']}: {one['reason']}" for one in failed))


def until(condition: Condition, limit_ns: int) -> Condition:
    """Return a condition that is true when `condition` is, and from `limit_ns` from here on."""
    end_ns = time.monotonic_ns() + limit_ns
    return lambda: condition() or time.monotonic_ns() >= end_ns


def after(span_ns: int) -> Condition:
    """Return a condition that is true from `span_ns` from here on."""
    return until(lambda: False, span_ns)
