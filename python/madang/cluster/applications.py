"""Which applications there are: making them, their slots and children, and taking them away.

Sockets and pipes come and go here and nowhere else. Nothing here waits, or decides when.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import replace

from madang.cluster import policy
from madang.cluster.application import Application, Child, Slot
from madang.cluster.checks import check_application, check_names, check_ports
from madang.cluster.errors import ClusterError, OperationRefused, SystemExhausted
from madang.cluster.handles import Share
from madang.cluster.logger_host import LoggerHost
from madang.cluster.policy import Instance, State
from madang.cluster.ports import Port
from madang.cluster.processes import Processes
from madang.cluster.settings import INSTANCES_MAX, ApplicationSettings, ClusterSettings
from madang.cluster.specs import limits
from madang.cluster.succession import leave_application, take_application
from madang.cluster.templates import Template, recipe

APPLICATIONS_MAX = 64
AT_REST = (State.IDLE, State.STOPPED, State.ERRORED)


class Applications:
    """The applications of one supervisor, in the order in which they were added."""

    def __init__(
        self,
        settings: ClusterSettings,
        processes: Processes,
        logger: LoggerHost,
        sockets: Mapping[str, list[socket.socket]],
    ) -> None:
        """`sockets` are those that were there before us, by the name of their port."""
        self._sockets = sockets
        self._settings = settings
        self._processes = processes
        self._logger = logger
        self._all = processes.applications

    def all(self) -> list[Application]:
        """Return all, oldest first."""
        return list(self._all.values())

    def add(self, settings: ApplicationSettings) -> Application:
        """Make an application with its sockets and slots; nothing of it runs yet.

        Raises SettingsError, PortTaken, SystemExhausted, or OperationRefused where the name is in
        use.
        """
        if settings.name in self._all:
            raise OperationRefused(f"there is an application {settings.name!r} already")
        if len(self._all) >= APPLICATIONS_MAX:
            raise OperationRefused(f"there are {APPLICATIONS_MAX} applications already")
        settings = replace(settings, directory=settings.directory or os.getcwd())
        check_names([*self._all, settings.name])
        check_application(settings)
        check_ports([*(other.settings for other in self._all.values()), settings])
        application = Application(settings, limits(settings, self._settings))
        self.open_ports(application)
        self._all[settings.name] = application
        try:
            for _ in range(settings.instances):
                self._add_slot(application)
        except SystemExhausted:
            self.remove(application)
            raise
        return application

    def rest(self, application: Application) -> None:
        """Leave an application stopped of which nothing has run yet: listed, and not listening."""
        application.stopping = True
        for child in application.children():
            self._processes.feed(child, policy.Stop())
        application.close_ports()

    def leave(self) -> list[Share]:
        """Return what a successor needs to go on with all of them."""
        return [leave_application(application, self._processes) for application in self.all()]

    def take_over(self, share: list[Share]) -> None:
        """Have the applications that another of us left."""
        for left in share:
            take_application(left, self._settings, self._processes, self._sockets)

    def open_ports(self, application: Application) -> None:
        """Open the sockets, one for each slot that is wanted. Raises PortTaken."""
        kept = [port for port in application.settings.ports if port.inherit]
        slots = max(len(application.slots), application.wanted)
        try:
            for port in kept:
                application.ports.append(
                    Port(port, slots, self._settings.backlog, self._sockets.get(port.name, ()))
                )
        except BaseException:
            application.close_ports()
            raise

    def grow(self, application: Application) -> Slot:
        """Add one slot with its sockets. Raises OperationRefused, PortTaken, SystemExhausted."""
        if len(application.slots) >= INSTANCES_MAX:
            raise OperationRefused(f"expected at most {INSTANCES_MAX} instances")
        added: list[Port] = []
        try:
            for port in application.ports:
                port.add()
                added.append(port)
            return self._add_slot(application)
        except ClusterError:
            for port in added:
                port.remove()
            raise

    def shrink(self, application: Application) -> None:
        """Take the last slot away, which is at rest and whose sockets have been drained."""
        slot = application.slots.pop()
        for child in slot.children():
            assert child.state in AT_REST
            self._logger.remove(child.stream)
        application.release(slot.index)
        for port in application.ports:
            port.remove()

    def template(self, application: Application, stamp: int | None) -> Template | None:
        """Return a template for new children, None for programs that need none.

        With `stamp` one that has imported the code at that time, without it the one in use.
        """
        if application.settings.is_foreign:
            return None
        if stamp is None:
            assert application.template is not None
            made_of = application.template.recipe
        else:
            made_of = recipe(application.settings, stamp)
        return self._processes.templates.acquire(made_of)

    def adopt_template(self, application: Application, template: Template | None) -> None:
        """Make `template` the one that children are restarted from; leave the one before."""
        before, application.template = application.template, template
        for child in application.children():
            child.template = template
        if before is not None:
            self._processes.release_template(before)

    def make_child(self, slot: Slot, application: Application, template: Template | None) -> Child:
        """Return another child for `slot`, of the next generation, which does not accept yet."""
        generation = application.newest
        output = self._logger.add(f"{slot.name}/{generation}", slot.name, application.name)
        instance = Instance(restarts=slot.child.instance.restarts)
        return Child(application, slot, generation, output, template, False, instance)

    def leave_template(self, application: Application, template: Template | None) -> None:
        """Undo `template`; a child that was to come from it comes from the application's own."""
        if template is None:
            return
        if template is not application.template:
            for child in application.children():
                if child.template is template:
                    child.template = application.template
        self._processes.release_template(template)

    def adopt(self, application: Application, template: Template | None) -> None:
        """Make a template that an operation holds the application's own as well."""
        if template is not None:
            template.users += 1
        self.adopt_template(application, template)

    def retire(self, child: Child) -> None:
        """Forget a child that is at rest and has no place any more."""
        assert child.state in AT_REST
        self._logger.remove(child.stream)

    def dismiss(self, child: Child) -> None:
        """Stop a child that has lost its place; it is forgotten when it has ended."""
        child.application.leaving.append(child)
        self._processes.feed(child, policy.Stop())
        self.settle(child)

    def settle(self, child: Child) -> None:
        """Forget `child` if it was leaving and has ended; to be called when it has changed."""
        leaving = child.application.leaving
        if child in leaving and child.state in AT_REST:
            leaving.remove(child)
            self.retire(child)

    def remove(self, application: Application) -> None:
        """Forget an application all of whose children are at rest."""
        while application.slots:
            self.shrink(application)
        application.close_ports()
        self.adopt_template(application, None)
        del self._all[application.name]

    def find(self, name: str) -> tuple[Application, list[Slot]]:
        """Return what `name` means: an application with all slots, or with one.

        Raises OperationRefused.
        """
        if name in self._all:
            application = self._all[name]
            return application, list(application.slots)
        for application in self._all.values():
            slot = application.find(name)
            if slot is not None:
                return application, [slot]
        known = ", ".join(self._all) or "nothing"
        raise OperationRefused(f"there is no {name!r} here; there is {known}")

    def _add_slot(self, application: Application) -> Slot:
        index = len(application.slots)
        slot = Slot(index, application.settings.instance_name(index))
        if application.settings.is_single and index:
            slot.name = f"{application.name}-{index}"
        output = self._logger.add(f"{slot.name}/{application.newest}", slot.name, application.name)
        slot.child = Child(application, slot, application.generation, output, application.template)
        application.slots.append(slot)
        return slot
