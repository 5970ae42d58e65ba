"""The supervisor: puts the parts together, turns the loop, starts, and ends everything.

One thread, one selector, nothing that blocks; it serves no traffic and imports no application.
Every decision is made elsewhere and is pure (`policy`, `generations`, `balance`, `autoscale`, …).
It is the child subreaper, so that children forked by a template, and whatever they leave behind,
become its own; that also makes it a correct process 1 of a container.
"""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from madang import __version__
from madang.cluster import linux, policy, shutdown
from madang.cluster.application import Application, Child
from madang.cluster.applications import Applications
from madang.cluster.checks import check
from madang.cluster.commands import Commands, Lifetime
from madang.cluster.control import SOCKET_NAME, Answer, ControlServer
from madang.cluster.handles import Share, handle, opened
from madang.cluster.journal import Journal
from madang.cluster.launch import OPEN_FILES_VARIABLE
from madang.cluster.logger_host import LoggerHost
from madang.cluster.loop import Loop
from madang.cluster.operations import Operation, Operations, OperationState
from madang.cluster.policy import State
from madang.cluster.processes import Processes
from madang.cluster.records import FolderLock, end_leftovers, held_runtime_folder
from madang.cluster.service_manager import ServiceManager
from madang.cluster.settings import ClusterSettings
from madang.cluster.succession import VERSION, is_quiet
from madang.cluster.upgrade import Departure, Upgrade
from madang.cluster.upkeep import Upkeep, Wishes

EXIT_BOOT_FAILURE = 3
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SIGNALS = (*STOP_SIGNALS, signal.SIGCHLD)
SETTLED = (State.READY, State.ERRORED, State.STOPPED)
STATUS_APPLICATIONS_MAX = 10
OWN_LAG_NS = 500 * policy.MS
FAILURES_APART_NS = 1_000 * policy.MS

Addresses = Mapping[str, tuple[str, int]]
OnReady = Callable[[Addresses, Mapping[str, str]], None]
"""Told where everything listens, and of each application that is not all up, why."""


def run_supervisor(settings: ClusterSettings, on_ready: OnReady, share: Share | None = None) -> int:
    """Run the cluster in the foreground until it is stopped and return the exit code.

    That is 0 after a stop, 3 when an application could not be started. `on_ready(addresses by port
    name, what is not up)` is called once, when every instance is ready for the first time, or has
    settled where a failure does not stop all. Raises SettingsError, UnsupportedSystem, FolderTaken,
    PortTaken before anything has started. Needs the main thread.
    With `share` it goes on as the supervisor that left it, in whose process it runs.
    """
    linux.require_linux()
    check(settings)
    # Every role inherits it; programs that are not ours get back what the shell gave, which must
    # outlive an upgrade.
    os.environ.setdefault(OPEN_FILES_VARIABLE, str(linux.raise_open_files()))
    left = share or {"locks": [None, None]}
    outer, inner = (opened(written) for written in left["locks"])
    lock = FolderLock(settings.state_dir, outer)
    try:
        with held_runtime_folder(settings.runtime_dir, settings.state_dir, inner) as own:
            ended = end_leftovers(settings.runtime_dir) if share is None else []
            manager = ServiceManager(os.environ, left.get("manager"))
            supervisor = Supervisor(settings, manager, (lock, own), share)
            try:
                return supervisor.run(on_ready, ended)
            finally:
                manager.close()
    finally:
        lock.release()


def examine(settings: ClusterSettings, share: Share) -> None:
    """Take over a copy of what a supervisor left, as far as that touches nothing."""
    check(settings)
    manager = ServiceManager(os.environ, share["manager"])
    Supervisor(settings, manager, (), share).take_over(share)


class Supervisor:
    """The state of one running cluster."""

    def __init__(
        self,
        settings: ClusterSettings,
        manager: ServiceManager,
        locks: Sequence[FolderLock | None],
        share: Share | None,
    ) -> None:
        left = share or {}
        self._manager = manager
        self._settings = settings
        self._locks = locks
        self._left = share
        self._loop = Loop()
        options = {
            "folder": str(settings.state_dir / "logs"),
            "runtime_dir": str(settings.runtime_dir),
            "supervisor": os.getpid(),
            "file_bytes": settings.log.file_bytes,
            "files": settings.log.files,
            "days": settings.log.days,
            "terminal": settings.log.terminal,
        }
        self._logger = LoggerHost(self._loop, options, left.get("logger"))
        self._journal = Journal(self._logger.add("madang", "madang", "madang"))
        self._processes = Processes(
            settings, self._loop, self._logger, self._journal, left.get("processes")
        )
        self._applications = Applications(settings, self._processes, self._logger, manager.sockets)
        self._operations = Operations(self._operation_ended)
        departure = Departure(
            self._leave, self._hold_signals, self._release_signals, self._what_is_under_way
        )
        upgrade = Upgrade(self._loop, self._processes, departure)
        lifetime = Lifetime(self._stop_by_command, upgrade.procedure)
        self._commands = Commands(self._applications, self._processes, self._operations, lifetime)
        self._processes.on_change = self._changed
        self._loop.on_failure = self._failed
        self._failed_ns = 0
        self._turned_ns = time.monotonic_ns()
        self._booted = False
        self._exit_code = 0
        self._stop_requests = 0
        self._wake_read, self._wake_write = socket.socketpair()

    def run(self, on_ready: OnReady, ended: list[int]) -> int:
        """Start everything or go on with it, serve until stopped, end everything."""
        self._on_ready = on_ready
        previous = self._catch_signals()
        try:
            linux.become_subreaper()
            if self._left is None:
                for application in self._settings.applications:
                    self._applications.add(application)
                self._control = self._open_control()
            else:
                self.take_over(self._left)
            try:
                self._loop.watch(self._wake_read, self._woken)
                if self._left is None:
                    self._start(ended)
                else:
                    self._go_on()
                while not self._finished():
                    self._turn()
            finally:
                self._end()
                self._control.close()
        finally:
            shutdown.restore_signals(previous)
            self._processes.close()
            self._logger.close()
            self._loop.close()
            for end in (self._wake_read, self._wake_write):
                end.close()
        return self._exit_code

    def _catch_signals(self) -> list[tuple[signal.Signals, shutdown.Handler]]:
        self._wake_write.setblocking(False)
        self._wake_read.setblocking(False)
        previous = [(number, signal.signal(number, lambda *_: None)) for number in SIGNALS]
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        return previous

    def _open_control(self, share: Share | None = None) -> ControlServer:
        path = self._settings.runtime_dir / SOCKET_NAME
        return ControlServer(path, self._loop, self._commands.answer, share)

    def _start(self, ended: list[int]) -> None:
        self._logger.start()
        self._journal.write("supervisor started", pid=os.getpid())
        if ended:
            self._journal.write("ended leftovers of an earlier supervisor", groups=ended)
        for application in self._applications.all():
            template = self._applications.template(application, 0)
            self._applications.adopt_template(application, template)
        for application in self._applications.all():
            if application.name in self._settings.stopped:
                self._applications.rest(application)
                continue
            for slot in application.slots:
                self._processes.feed(slot.child, policy.Start())
        self._upkeep = self._look_after()
        self._manager.begin(self._loop, self._status)
        self._check_boot()

    def _look_after(self, share: Share | None = None) -> Upkeep:
        commands = self._commands
        wishes = Wishes(
            self._operations.busy,
            commands.replace,
            commands.scale_to,
            commands.reload,
            commands.past.add,
        )
        return Upkeep(self._loop, self._processes, self._journal, wishes, share)

    def _turn(self) -> None:
        """Wait for the next thing to happen, and for its time at most."""
        began_ns = time.monotonic_ns()
        due = self._processes.deadlines()
        timer_ns = self._loop.next_ns()
        if timer_ns is not None:
            due.append(timer_ns)
        until_ns = max(began_ns, min(due)) if due else None
        ready = self._loop.wait(until_ns)
        woken_ns = time.monotonic_ns()
        late_ns = 0 if until_ns is None else woken_ns - until_ns
        self._loop.call(ready)
        now_ns = time.monotonic_ns()
        if max(began_ns - self._turned_ns, late_ns, now_ns - woken_ns) > OWN_LAG_NS:
            self._forgive()
        self._turned_ns = now_ns
        self._processes.tick(now_ns)
        self._operations.pump()
        if self._stop_requests:
            self._advance_stop()

    def _forgive(self) -> None:
        """Start every watchdog anew: we were held up, so silence says nothing about the others."""
        self._journal.write("the supervisor was held up")
        for application in self._applications.all():
            for child in application.children():
                if child.instance.watched and child.state in (State.READY, State.STALLED):
                    self._processes.feed(child, policy.Heartbeat())

    def _failed(self, error: Exception) -> None:
        """Say what failed and where, and go on: everything that runs here depends on us."""
        now_ns = time.monotonic_ns()
        if now_ns - self._failed_ns >= FAILURES_APART_NS:
            self._failed_ns = now_ns
            trace = traceback.format_exception(error)
            self._journal.write("something failed here", error=repr(error), trace=trace[-3:])

    def _woken(self) -> None:
        numbers = self._wake_read.recv(4096)
        for number in STOP_SIGNALS:
            if number in numbers:
                self._request_stop(signal.Signals(number).name)
        self._processes.reap()

    def _changed(self, child: Child) -> None:
        self._applications.settle(child)
        self._close_if_lost(child.application)
        if not self._booted:
            self._check_boot()

    def _close_if_lost(self, application: Application) -> None:
        """Refuse connections where nobody is tried any more, so that clients go elsewhere."""
        busy = self._stop_requests or self._operations.busy(application.name)
        if application.is_lost and not busy:
            application.close_ports()
            self._journal.write("stopped listening: nobody is left", name=application.name)

    def _operation_ended(self, operation: Operation) -> None:
        self._journal.write(
            "operation", id=operation.id, kind=operation.kind, name=operation.name,
            state=str(operation.state), reason=operation.reason,
        )  # fmt: skip
        for application in self._applications.all():
            self._close_if_lost(application)

    def _check_boot(self) -> None:
        found = self._applications.all()
        # Who wants to go on without what cannot be started is up when everything has settled.
        settled = (State.READY,) if self._settings.stop_on_boot_failure else SETTLED
        if all(c.state in settled for a in found for c in a.children()):
            self._booted = True
            down = {a.name: why for a in found if (why := _not_up(a))}
            if down:
                self._journal.write("not all instances are ready", down=down)
            else:
                self._journal.write("all instances are ready")
            self._manager.ready(self._status())
            self._on_ready(
                {n: a for application in found for n, a in application.addresses().items()}, down
            )
        elif self._settings.stop_on_boot_failure and not self._stop_requests:
            first = {application.name for application in self._settings.applications}
            children = [c for a in found if a.name in first for c in a.children()]
            failed = [c.name for c in children if c.state is State.ERRORED]
            if failed:
                self._journal.write("cannot start: stopping", failed=failed)
                self._exit_code = EXIT_BOOT_FAILURE
                self._stop_requests = 1

    def _status(self) -> str:
        """Return how things are, in a line for whoever manages services."""
        found = self._applications.all()
        parts = [f"{a.name} {a.ready()}/{a.wanted}" for a in found[:STATUS_APPLICATIONS_MAX]]
        more = f" and {len(found) - len(parts)} more" if len(found) > len(parts) else ""
        return f"ready: {', '.join(parts) or 'nothing to run'}{more}"

    # --- becoming new code --------------------------------------------------------------------

    def _leave(self) -> Share:
        """Return everything that a successor in this process needs."""
        return {
            "version": VERSION,
            "settings": asdict(self._settings),
            "locks": [handle(lock) for lock in self._locks],
            "manager": self._manager.leave(),
            "logger": self._logger.leave(),
            "processes": self._processes.leave(),
            "applications": self._applications.leave(),
            "operations": self._operations.leave(),
            "upkeep": self._upkeep.leave(),
            "history": self._commands.past.leave(),
            "control": self._control.leave(),
            "booted": self._booted,
        }

    def take_over(self, share: Share) -> None:
        """Have what another of us left; nothing happens to it."""
        self._applications.take_over(share["applications"])
        self._coming = self._operations.take_over(share["operations"])
        self._upkeep = self._look_after(share["upkeep"])
        self._control = self._open_control(share["control"])
        self._commands.past.take_over(share["history"])
        self._booted = share["booted"]

    def _go_on(self) -> None:
        self._release_signals()
        self._logger.go_on()
        self._journal.write("supervisor took over", pid=os.getpid(), version=__version__)
        self._processes.go_on()
        self._manager.begin(self._loop, self._status)
        for application in self._applications.all():
            application.steer()
        self._processes.reap()  # whoever died meanwhile
        self._coming.say(f"version {__version__} has taken over")
        self._operations.end(self._coming)

    def _what_is_under_way(self, operation: Operation) -> str:
        others = [o for o in self._operations.running() if o is not operation]
        if others:
            return f"operation {others[0].id} ({others[0].kind} {others[0].name})"
        if not self._booted and self._settings.stop_on_boot_failure:
            return "the start of the cluster"
        if self._processes.is_starting:
            return "the start of a process"
        for application in self._applications.all():
            if not is_quiet(application):
                return f"the end of a process of {application.name}"
        return "an answer of the logger" if self._logger.is_asked else ""

    def _hold_signals(self) -> bool:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._manager.reloading()
        self._journal.write("supervisor becomes new code", pid=os.getpid())
        try:
            numbers = self._wake_read.recv(4096, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return not any(number in numbers for number in STOP_SIGNALS)

    def _release_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._manager.reloaded()

    # --- stopping -----------------------------------------------------------------------------

    def _stop_by_command(self) -> Answer:
        self._request_stop("command")
        limit_ms = sum(a.settings.stop_timeout_ms for a in self._applications.all())
        return {"supervisor": os.getpid(), "limit_ms": limit_ms}

    def _request_stop(self, cause: str) -> None:
        """Stop in reverse order; the second request by signal kills."""
        self._stop_requests += 1
        self._journal.write("stop requested", cause=cause)
        self._manager.stopping()
        for application in self._applications.all():
            reason = "the cluster stops"
            self._operations.cancel(application.name, reason, OperationState.FAILED)
        if self._stop_requests > 1 and cause != "command":
            for application in self._applications.all():
                application.stopping = True
                for child in application.children():
                    self._processes.feed(child, policy.Kill())

    def _advance_stop(self) -> None:
        """Stop the last application that still runs, and the one before it when it has ended."""
        for application in reversed(self._applications.all()):
            application.stopping = True
            for child in application.children():
                if child.state not in (State.STOPPING, State.STOPPED):
                    self._processes.feed(child, policy.Stop())
            if not _ended(application):
                return

    def _finished(self) -> bool:
        return self._stop_requests > 0 and all(_ended(a) for a in self._applications.all())

    def _end(self) -> None:
        """End every process that is left, then remove every file."""
        self._processes.end()
        self._journal.write("supervisor ends", code=self._exit_code)
        shutdown.end_children(self._logger.pid)
        self._logger.finish()
        shutdown.wait_for(self._logger.pid)


def _not_up(application: Application) -> str:
    """Return which instances are not ready, and how they ended; "" where all are as wanted."""
    if application.stopping:
        return ""
    down = [child for child in application.children() if child.state is not State.READY]
    ends = [f" ({c.instance.last_exit})" if c.instance.last_exit else "" for c in down]
    return ", ".join(f"{c.name} is {c.state}{end}" for c, end in zip(down, ends, strict=True))


def _ended(application: Application) -> bool:
    return application.in_state(State.STOPPED)
