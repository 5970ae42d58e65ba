"""A reload that nobody notices: from one generation of an application to the next.

    prepare   a child of the new generation beside each old one, not accepting; all must get ready
    switch    the new ones accept, then the old ones cease to; both have the same sockets
    watch     the old ones stay as they are, for a return
    hand over connections that can move go from old to new, slot by slot
    watch     once more, where only connections that have moved say how the new ones do
    drain     the old ones stop gracefully

What to do next is judged by `generations`. Whatever ends this early leaves the old generation
serving: it is not touched before the switch, the switch is undone by the same message, and
connections move back as they came.
"""

from __future__ import annotations

import time
from collections.abc import Generator

from madang.cluster import generations, policy
from madang.cluster.application import Application, Child, Slot
from madang.cluster.applications import Applications
from madang.cluster.generations import Course, Newcomer, Rules, Traffic, Verdict
from madang.cluster.moving import move
from madang.cluster.operations import (
    Condition,
    Operation,
    OperationFailed,
    Procedure,
    RolledBack,
)
from madang.cluster.policy import MS, State
from madang.cluster.procedures import Procedures
from madang.cluster.processes import Processes


class Reloading:
    """Reloads by generations."""

    def __init__(
        self, applications: Applications, processes: Processes, procedures: Procedures
    ) -> None:
        self._applications = applications
        self._processes = processes
        self._procedures = procedures

    def reload(
        self, operation: Operation, application: Application, slots: list[Slot], fresh: bool
    ) -> Procedure:
        """Replace the children of `slots`, which is one or all of an application.

        With `fresh` the code is imported anew, else they come from the same template as before.
        """
        if application.settings.in_place:
            yield from self._procedures.reload_in_place(operation, application, slots)
            return
        yield from self._procedures.open(application)
        stamp = operation.id if fresh or application.template is None else None
        template = self._applications.template(application, stamp)
        change = _Change(operation, application, slots, self._processes)
        adopted = False
        application.begin_generation()
        try:
            for slot in slots:
                slot.other = self._applications.make_child(slot, application, template)
            yield from self._prepare(change)
            change.switch()
            spoke_to_old = yield from self._watch(change, "new connections go to it")
            yield from change.move()
            if spoke_to_old:
                yield from self._watch(change, "too few spoke to it, so with those that moved")
            application.last_problem = ""
            self._applications.adopt(application, template)
            adopted = True
            yield from self._finish(change)
        finally:
            if change.switched and not adopted:
                change.switch_back()
            for spare in change.spares():
                self._applications.dismiss(spare)
            self._applications.leave_template(application, template)

    def _prepare(self, change: _Change) -> Procedure:
        change.operation.say(f"starting generation {change.generation()} beside the old one")
        change.start()
        began_ns = time.monotonic_ns()
        verdict = generations.WAIT

        def judged() -> bool:
            nonlocal verdict
            waited_ns = time.monotonic_ns() - began_ns
            verdict = generations.prepared(change.newcomers(), waited_ns, change.rules)
            return verdict.course is not Course.WAIT

        yield judged
        if verdict.course is Course.GIVE_UP:
            reason = yield from self._give_up(change, verdict)
            change.application.last_problem = reason
            change.operation.say("abandoned: the old generation serves on")
            raise OperationFailed(reason)
        change.operation.say("every new instance is ready")

    def _watch(self, change: _Change, situation: str) -> Generator[Condition, None, bool]:
        """Return to the old generation if need be; tell whether it took the requests meanwhile."""
        change.operation.say(f"{situation}; watching for {change.watch_ms} ms")
        began_ns = time.monotonic_ns()
        old, before = change.old_traffic(), change.new_traffic()
        verdict = generations.WAIT

        def judged() -> bool:
            nonlocal verdict
            new = change.new_traffic().since(before)
            watched_ns = time.monotonic_ns() - began_ns
            verdict = generations.watched(change.newcomers(), old, new, watched_ns, change.rules)
            return verdict.course is not Course.WAIT

        yield judged
        if verdict.course is Course.GIVE_UP:
            change.switch_back()
            change.operation.say("back to the old generation")
            change.application.last_problem = verdict.reason
            yield from change.move()
            reason = yield from self._give_up(change, verdict)
            change.application.last_problem = reason
            raise RolledBack(reason)
        change.operation.say("the watch time has passed")
        new = change.new_traffic().since(before)
        return generations.is_worth_another_watch(change.old_traffic().since(old), new)

    def _give_up(self, change: _Change, verdict: Verdict) -> Generator[Condition, None, str]:
        """End the new children and return the whole reason, their last lines included."""
        words: list[str] = []
        fallen = change.fallen()
        if fallen is not None:
            yield from self._procedures.last_words(fallen, words)
        others = [slot.other for slot in change.slots if slot.other is not None]
        yield from self._procedures.end_children(change.operation, others)
        return "\n".join([verdict.reason, *words])

    def _finish(self, change: _Change) -> Procedure:
        old = [slot.other for slot in change.slots if slot.other is not None]
        yield from self._procedures.end_children(change.operation, old)


class _Change:
    """The slots of one reload and which generation is where."""

    def __init__(
        self,
        operation: Operation,
        application: Application,
        slots: list[Slot],
        processes: Processes,
    ) -> None:
        settings = application.settings
        self.operation = operation
        self.application = application
        self.slots = slots
        self.watch_ms = settings.watch_ms
        self.rules = Rules(
            settings.start_timeout_ms * MS, settings.watch_ms * MS, settings.error_rate_max
        )
        self._processes = processes
        self.switched = False
        self._deaths: dict[Child, int] = {}

    def new(self) -> list[Child]:
        """Return the children of the new generation."""
        if self.switched:
            return [slot.child for slot in self.slots]
        return [slot.other for slot in self.slots if slot.other is not None]

    def generation(self) -> int:
        """Return the number of the new generation."""
        return max(child.generation for child in self.new())

    def start(self) -> None:
        """Start the new children."""
        for child in self.new():
            self._deaths[child] = child.instance.restarts
            self._processes.feed(child, policy.Start())

    def newcomers(self) -> list[Newcomer]:
        """Return what is seen of the new children."""
        return [
            Newcomer(
                child.name,
                child.state,
                child.instance.restarts - self._deaths[child],
                child.instance.last_exit or child.instance.cause,
            )
            for child in self.new()
        ]

    def fallen(self) -> Child | None:
        """Return a new child that ended, else one that never got ready, if there is one."""
        ended = [child for child in self._deaths if child.instance.last_exit]
        unready = [child for child in self._deaths if child.state is not State.READY]
        return next(iter([*ended, *unready]), None)

    def old_traffic(self) -> Traffic:
        """Return what the old children have answered."""
        return _traffic([slot.other for slot in self.slots if slot.other is not None])

    def new_traffic(self) -> Traffic:
        """Return what the new children have answered."""
        return _traffic([slot.child for slot in self.slots])

    def switch(self) -> None:
        """Send new connections to the new generation."""
        self.switched = True
        self._exchange()

    def switch_back(self) -> None:
        """Send new connections to the old generation again."""
        self.switched = False
        self._exchange()

    def _exchange(self) -> None:
        for slot in self.slots:
            assert slot.other is not None
            slot.child, slot.other = slot.other, slot.child
            slot.child.accept(True)
        self.application.steer()
        for slot in self.slots:
            if slot.other is not None:
                slot.other.accept(False)

    def move(self) -> Procedure:
        """Let those who stand aside give their connections to those who serve."""
        pairs = [(slot.other, slot.child) for slot in self.slots if slot.other is not None]
        return move(self.operation, pairs, self.application.settings.hand_over_ms)

    def spares(self) -> list[Child]:
        """Take out and return whoever stands beside the one who serves."""
        found = [slot.other for slot in self.slots if slot.other is not None]
        for slot in self.slots:
            slot.other = None
        return found


def _traffic(children: list[Child]) -> Traffic:
    scores = [child.scores for child in children]
    return Traffic(sum(s.requests for s in scores), sum(s.errors for s in scores))
