"""Start, stop, restart, scale and delete, as procedures.

A restart goes from slot to slot: an instance is stopped only when the one before is ready again,
and the first that does not come back ends it, so that whatever still serves goes on serving.
"""

from __future__ import annotations

from collections.abc import Sequence

from madang.cluster import policy
from madang.cluster.application import Application, Child, Slot
from madang.cluster.applications import AT_REST, Applications
from madang.cluster.errors import ClusterError, PortTaken
from madang.cluster.moving import move
from madang.cluster.operations import (
    Operation,
    OperationFailed,
    Procedure,
    RolledBack,
    after,
    until,
)
from madang.cluster.policy import MS, State
from madang.cluster.processes import Processes
from madang.cluster.templates import Template

SOCKET_REST_NS = 1_000 * MS
"""For this long nothing may come to a socket that is no longer chosen before it is closed."""
TAIL_WAIT_NS = 1_000 * MS
TAIL_LINES_SHOWN = 12
SETTLED = (State.READY, State.STALLED, State.ERRORED, State.STOPPED)


class Procedures:
    """What operations do to the processes of an application."""

    def __init__(self, applications: Applications, processes: Processes) -> None:
        self._applications = applications
        self._processes = processes

    def start(self, operation: Operation, application: Application, slots: list[Slot]) -> Procedure:
        """Start what is at rest, and wait until it is ready."""
        yield from self.open(application)
        yield lambda: all(slot.child.state is not State.STOPPING for slot in slots)
        for slot in slots:
            slot.child.template = application.template
            slot.child.accept(True)
            if slot.child.state in AT_REST:
                self._processes.feed(slot.child, policy.Start())
        operation.say(f"starting {_names(slots)}")
        deaths = [slot.child.instance.restarts for slot in slots]

        def settled() -> bool:
            """Whether all are up, or one has died: it is tried again, but that must be known."""
            died = any(
                slot.child.instance.restarts > before
                for slot, before in zip(slots, deaths, strict=True)
            )
            return died or all(slot.child.state in SETTLED for slot in slots)

        yield settled
        yield from self._require_ready(slots)

    def open(self, application: Application) -> Procedure:
        """Have sockets and a template; an application that was stopped or lost has none."""
        application.stopping = False
        if not application.ports:
            try:
                self._applications.open_ports(application)
            except PortTaken as error:
                raise OperationFailed(error.message) from error
        if application.template is None:
            template = self._applications.template(application, 0)
            self._applications.adopt_template(application, template)
        yield from ()

    def _require_ready(self, slots: list[Slot]) -> Procedure:
        failed = [slot for slot in slots if slot.child.state not in (State.READY, State.STALLED)]
        if failed:
            child = max(failed, key=lambda slot: slot.child.instance.restarts).child
            reason = f"{child.name} is {child.state}: {child.instance.last_exit or 'stopped'}"
            if child.state is not State.ERRORED:
                reason += " (it is tried again)"
            words: list[str] = []
            yield from self.last_words(child, words)
            raise OperationFailed("\n".join([reason, *words]))

    def last_words(self, child: Child, words: list[str]) -> Procedure:
        """Fetch the last lines of a child's output into `words`, within a moment."""
        answers: list[list[str]] = []
        self._processes.logger.ask_tail(child.stream, answers.append)
        yield until(lambda: bool(answers), TAIL_WAIT_NS)
        words += (answers or [[]])[0][-TAIL_LINES_SHOWN:]

    def stop(self, operation: Operation, application: Application, slots: list[Slot]) -> Procedure:
        """Stop gracefully; a whole application stops listening once it has stopped."""
        whole = len(slots) == len(application.slots)
        application.stopping = whole
        children = [child for slot in slots for child in slot.children()]
        yield from self.end_children(operation, application.children() if whole else children)
        if whole:
            application.close_ports()

    def end_children(self, operation: Operation, children: Sequence[Child]) -> Procedure:
        """Stop children and wait until their limits have made sure that they are gone."""
        for child in children:
            self._processes.feed(child, policy.Stop())
        if children:
            operation.say(f"stopping {', '.join(child.name for child in children)}")
        yield lambda: all(child.state in AT_REST for child in children)

    def delete(self, operation: Operation, application: Application) -> Procedure:
        """Stop and forget."""
        yield from self.stop(operation, application, list(application.slots))
        self._applications.remove(application)

    def scale(self, operation: Operation, application: Application, wanted: int) -> Procedure:
        """Have `wanted` slots: new ones are started, the last ones drained and closed."""
        added: list[Slot] = []
        yield from self.open(application)
        try:
            while len(application.slots) < wanted:
                added.append(self._applications.grow(application))
        except ClusterError:
            for _ in added:
                self._applications.shrink(application)
            raise
        application.wanted = wanted
        application.steer()
        resting = (State.STOPPED, State.STOPPING)
        waking = [
            s for s in application.slots[:wanted] if s.child.state in resting and s not in added
        ]
        if added or waking:
            yield from self.start(operation, application, [*waking, *added])
        surplus = application.slots[wanted:]
        if surplus:
            yield from self._drain(operation, application, surplus)

    def _drain(
        self, operation: Operation, application: Application, surplus: list[Slot]
    ) -> Procedure:
        children = [child for slot in surplus for child in slot.children()]
        for child in children:
            child.accept(False)
        application.steer()
        heirs = [application.slots[index].child for index in sorted(application.live())]
        if heirs:
            pairs = [(c, heirs[number % len(heirs)]) for number, c in enumerate(children)]
            yield from move(operation, pairs, application.settings.hand_over_ms)
        yield from self.end_children(operation, children)
        if application.ports:
            application.steer()  # the neighbours accept what was queued meanwhile
            yield after(SOCKET_REST_NS)
            yield (
                lambda: (
                    not any(
                        port.queued(slot.index) for port in application.ports for slot in surplus
                    )
                    or not application.live()
                )
            )
        while len(application.slots) > application.wanted:
            self._applications.shrink(application)
        application.steer()

    def restart(
        self, operation: Operation, application: Application, slots: list[Slot]
    ) -> Procedure:
        """Stop and start one slot after the other, from code that is imported anew."""
        yield from self.open(application)
        template = self._applications.template(application, operation.id)
        application.begin_generation()
        try:
            for slot in slots:
                yield from self.end_children(operation, list(slot.children()))
                self._replace(slot, application, template)
                if application.template is not template:
                    self._applications.adopt(application, template)
                yield from self._start_once(operation, slot)
            application.last_problem = ""
        finally:
            self._applications.leave_template(application, template)

    def reload_in_place(
        self, operation: Operation, application: Application, slots: list[Slot]
    ) -> Procedure:
        """Restart what must not run twice at once; what does not come back comes back as it was."""
        yield from self.open(application)
        template = self._applications.template(application, operation.id)
        application.begin_generation()
        try:
            for slot in slots:
                yield from self.end_children(operation, list(slot.children()))
                self._replace(slot, application, template)
                try:
                    yield from self._start_once(operation, slot)
                except OperationFailed as error:
                    application.last_problem = str(error)
                    operation.say("the new one does not come up: back to the old one")
                    yield from self.end_children(operation, [slot.child])
                    slot.child.template = application.template
                    yield from self.start(operation, application, [slot])
                    raise RolledBack(str(error)) from error
            self._applications.adopt(application, template)
            application.last_problem = ""
        finally:
            self._applications.leave_template(application, template)

    def _start_once(self, operation: Operation, slot: Slot) -> Procedure:
        """Start a slot and wait until it is ready, or has died for the first time."""
        child = slot.child
        deaths = child.instance.restarts
        self._processes.feed(child, policy.Start())
        operation.say(f"starting {child.name}")

        def settled() -> bool:
            died = child.instance.restarts > deaths or child.state is State.BACKOFF
            return died or child.state in SETTLED

        yield settled
        if child.state not in (State.READY, State.STALLED):
            reason = f"{child.name} ended: {child.instance.last_exit}"
            words: list[str] = []
            yield from self.last_words(child, words)
            raise OperationFailed("\n".join([reason, *words]))

    def _replace(self, slot: Slot, application: Application, template: Template | None) -> None:
        """Put a child of the next generation into a slot that is at rest."""
        fresh = self._applications.make_child(slot, application, template)
        fresh.accepting = True
        for child in slot.children():
            self._applications.retire(child)
        slot.child, slot.other = fresh, None


def _names(slots: list[Slot]) -> str:
    return ", ".join(slot.name for slot in slots)
