"""The supervisor: owns the listening sockets, feeds the policy, carries its actions out, reaps.

One thread, one selector, nothing that blocks; it serves no traffic and imports no application.
Everything with a decision in it is elsewhere and pure (`policy`, `steering`). It is the child
subreaper, so that children forked by a template, and whatever they leave behind, become its own.
"""

from __future__ import annotations

import itertools
import os
import random
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping

from madang.cluster import channel, linux, policy, shutdown
from madang.cluster.control import SOCKET_NAME, Answer, ControlServer
from madang.cluster.journal import Journal
from madang.cluster.notify import Listener, Notice
from madang.cluster.policy import Action, State
from madang.cluster.ports import Port
from madang.cluster.records import FolderLock, Record, end_leftovers, held_runtime_folder
from madang.cluster.settings import ClusterSettings, check
from madang.cluster.slots import Group, Slot, child_table, exit_text, limits
from madang.cluster.spawner import LoggerProcess, Spawned, SpawnRequest, Template

EXIT_BOOT_FAILURE = 3
UNCLAIMED_EXITS_MAX = 1_024
LOGGER_PAUSE_NS = 100 * policy.MS
LOGGER_PAUSE_MAX_NS = 5_000 * policy.MS
LOGGER_STABLE_NS = 1_000 * policy.MS
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
NOTICES_PER_TURN = 256
OWN_LAG_NS = 500 * policy.MS

Addresses = Mapping[str, tuple[str, int]]


def run_supervisor(settings: ClusterSettings, on_ready: Callable[[Addresses], None]) -> int:
    """Run the cluster in the foreground until it is stopped and return the exit code.

    That is 0 after a stop, 3 when an application could not be started. `on_ready(addresses by port
    name)` is called once, when every instance is ready for the first time. Raises SettingsError,
    UnsupportedSystem, FolderTaken, PortTaken before anything has started. Needs the main thread.
    """
    linux.require_linux()
    check(settings)
    lock = FolderLock(settings.state_dir)
    try:
        with held_runtime_folder(settings.runtime_dir, settings.state_dir):
            ended = end_leftovers(settings.runtime_dir)
            return Supervisor(settings, on_ready).run(ended)
    finally:
        lock.release()


class Supervisor:
    """The state of one running cluster."""

    def __init__(self, settings: ClusterSettings, on_ready: Callable[[Addresses], None]) -> None:
        self._settings = settings
        self._on_ready = on_ready
        self._selector = selectors.DefaultSelector()
        self._logger = LoggerProcess(
            {
                "folder": str(settings.state_dir / "logs"),
                "runtime_dir": str(settings.runtime_dir),
                "supervisor": os.getpid(),
                "file_bytes": settings.log.file_bytes,
                "files": settings.log.files,
                "days": settings.log.days,
                "terminal": settings.log.terminal,
            }
        )
        self._logger_started_ns = 0
        self._logger_resume_ns: int | None = None
        self._logger_pause_ns = LOGGER_PAUSE_NS
        self._journal = Journal(self._logger.add_stream("madang", "madang"))
        self._template_output = self._logger.add_stream("template", "madang")
        self._templates: dict[tuple[str, ...], Template] = {}
        self._groups: list[Group] = []
        self._limits: dict[str, policy.Limits] = {}
        self._by_pid: dict[int, tuple[Group, Slot]] = {}
        self._by_request: dict[int, tuple[Group, Slot]] = {}
        self._unclaimed: dict[int, int] = {}
        self._request_ids = itertools.count(1)
        self._record = Record(settings.runtime_dir)
        self._turned_ns = time.monotonic_ns()
        self._booted = False
        self._exit_code = 0
        self._stop_requests = 0
        self._wake_read, self._wake_write = socket.socketpair()

    def run(self, ended: list[int]) -> int:
        """Start everything, serve until stopped, end everything."""
        previous = self._catch_signals()
        try:
            for application in self._settings.applications:
                ports = [
                    Port(port, application.instances, self._settings.backlog)
                    for port in application.ports
                ]
                self._add_group(application.name, ports)
            linux.become_subreaper()
            self._notify = Listener(self._settings.runtime_dir / "notify.sock")
            path = self._settings.runtime_dir / SOCKET_NAME
            self._control = ControlServer(path, self._command)
            try:
                self._start(ended)
                while not self._finished():
                    self._turn()
            finally:
                self._end()
        finally:
            shutdown.restore_signals(previous)
            for group in self._groups:
                for port in group.ports:
                    port.close()
            self._logger.close_pipes()
            for end in (self._wake_read, self._wake_write):
                end.close()
        return self._exit_code

    def _add_group(self, name: str, ports: list[Port]) -> None:
        application = next(a for a in self._settings.applications if a.name == name)
        preload = application.preload
        if preload not in self._templates:
            self._templates[preload] = Template(preload, self._template_output)
        group = Group(application, ports, self._templates[preload])
        for index in range(application.instances):
            slot_name = application.instance_name(index)
            group.slots.append(Slot(index, slot_name, self._logger.add_stream(slot_name, name)))
        self._groups.append(group)
        self._limits[name] = limits(application, self._settings)

    def _catch_signals(self) -> list[tuple[signal.Signals, shutdown.Handler]]:
        self._wake_write.setblocking(False)
        self._wake_read.setblocking(False)
        previous = [
            (number, signal.signal(number, lambda *_: None))
            for number in (*STOP_SIGNALS, signal.SIGCHLD)
        ]
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        return previous

    def _start(self, ended: list[int]) -> None:
        self._watch(self._wake_read, self._woken)
        self._watch(self._notify.socket, self._notices)
        self._watch(self._control.listener, self._accept)
        self._start_logger()
        self._journal.write("supervisor started", pid=os.getpid())
        if ended:
            self._journal.write("ended leftovers of an earlier supervisor", groups=ended)
        for template in self._templates.values():
            template.start()
            self._watch_template(template)
        for group in self._groups:
            for slot in group.slots:
                self._feed(group, slot, policy.Start())

    def _watch(self, end: socket.socket, callback: Callable[[], None]) -> None:
        self._selector.register(end, selectors.EVENT_READ, callback)

    def _turn(self) -> None:
        """Wait for the next thing to happen, and for its time at most."""
        began_ns = time.monotonic_ns()
        due = [at for group in self._groups for at in self._deadlines(group)]
        if self._logger_resume_ns is not None:
            due.append(self._logger_resume_ns)
        wait_ns = max(0, min(due) - began_ns) if due else None
        ready = self._selector.select(None if wait_ns is None else wait_ns / 1e9)
        woken_ns = time.monotonic_ns()
        late_ns = 0 if wait_ns is None else woken_ns - began_ns - wait_ns
        for key, _ in ready:
            if key.fileobj in self._selector.get_map():
                key.data()
        now_ns = time.monotonic_ns()
        if max(began_ns - self._turned_ns, late_ns, now_ns - woken_ns) > OWN_LAG_NS:
            self._forgive()
        self._turned_ns = now_ns
        self._tick(now_ns)

    def _forgive(self) -> None:
        """Start every watchdog anew: we were held up, so silence says nothing about the others."""
        self._journal.write("the supervisor was held up")
        for group in self._groups:
            for slot in group.slots:
                if slot.instance.state in (State.READY, State.STALLED):
                    self._feed(group, slot, policy.Heartbeat())

    def _deadlines(self, group: Group) -> list[int]:
        limit = self._limits[group.settings.name]
        found = (policy.deadline_ns(slot.instance, limit) for slot in group.slots)
        return [at for at in found if at is not None]

    def _tick(self, now_ns: int) -> None:
        if self._logger_resume_ns is not None and now_ns >= self._logger_resume_ns:
            self._start_logger()
        for group in self._groups:
            limit = self._limits[group.settings.name]
            for slot in group.slots:
                at = policy.deadline_ns(slot.instance, limit)
                if at is not None and now_ns >= at:
                    self._feed(group, slot, policy.Tick())
        if self._stop_requests:
            self._advance_stop()

    # --- the policy's shell -------------------------------------------------------------------

    def _feed(self, group: Group, slot: Slot, event: policy.Event) -> None:
        before = slot.instance.state
        limit = self._limits[group.settings.name]
        slot.instance, actions = policy.step(slot.instance, event, time.monotonic_ns(), limit)
        after = slot.instance
        if after.state is not before or Action.SPAWN in actions:
            self._journal.write(
                "instance", name=slot.name, state=str(after.state), before=str(before),
                pid=slot.pid, last_exit=after.last_exit, restarts=after.restarts,
            )  # fmt: skip
        for action in actions:
            self._do(group, slot, action)
        if not self._booted:
            self._check_boot()

    def _do(self, group: Group, slot: Slot, action: Action) -> None:
        match action:
            case Action.SPAWN:
                self._spawn(group, slot)
            case Action.ADMIT | Action.WITHDRAW:
                group.steer()
            case Action.TERMINATE:
                self._signal(group, slot, signal.SIGTERM)
            case Action.ABORT:
                self._signal(group, slot, signal.SIGABRT)
            case Action.KILL:
                self._signal(group, slot, signal.SIGKILL)
            case Action.REPORT:
                self._logger.ask_tail(slot.name)

    def _spawn(self, group: Group, slot: Slot) -> None:
        slot.close_channels()
        slot.incarnation += 1
        slot.status = ""
        slot.channel, slot.their_channel = channel.pair()
        slot.channel.setblocking(False)
        slot.request_id = next(self._request_ids)
        descriptors = (slot.output, slot.their_channel.fileno(), *group.listeners(slot.index))
        spec = child_table(self._settings, group, slot, self._notify.path)
        self._by_request[slot.request_id] = (group, slot)
        request = SpawnRequest(slot.request_id, spec, descriptors)
        self._answers(group.template.spawn(request))

    def _answers(self, answers: list[Spawned]) -> None:
        for answer in answers:
            group, slot = self._by_request.pop(answer.id)
            slot.request_id = None
            if slot.their_channel is not None:
                slot.their_channel.close()
                slot.their_channel = None
            if answer.pid is None:
                self._exited(group, slot, f"cannot start: {answer.reason}")
                continue
            slot.pid = answer.pid
            self._by_pid[answer.pid] = (group, slot)
            self._write_record()
            number, slot.pending_signal = slot.pending_signal, None
            if number is not None:
                self._signal(group, slot, number)
            if answer.pid in self._unclaimed:
                self._gone(answer.pid, self._unclaimed.pop(answer.pid))

    def _signal(self, group: Group, slot: Slot, number: signal.Signals) -> None:
        """Signal a child: SIGKILL its whole group; one not yet there gets it when it is."""
        if slot.pid is None:
            if slot.request_id is not None and group.template.withdraw(slot.request_id):
                del self._by_request[slot.request_id]
                slot.request_id = None
                self._exited(group, slot, "never started")
            else:
                slot.pending_signal = number
        elif number is signal.SIGKILL:
            linux.signal_group(slot.pid, number)
        else:
            linux.signal_process(slot.pid, number)

    def _exited(self, group: Group, slot: Slot, reason: str) -> None:
        slot.pending_signal = None
        slot.close_channels()
        jitter = random.randrange(policy.JITTER_SCALE)
        self._feed(group, slot, policy.Exited(reason, jitter))
        group.steer()

    def _check_boot(self) -> None:
        if all(group.in_state(State.READY) for group in self._groups):
            self._booted = True
            self._journal.write("all instances are ready")
            self._on_ready({p.name: p.address for group in self._groups for p in group.ports})
        elif self._settings.stop_on_boot_failure and not self._stop_requests:
            slots = [slot for group in self._groups for slot in group.slots]
            failed = [s.name for s in slots if s.instance.state is State.ERRORED]
            if failed:
                self._journal.write("cannot start: stopping", failed=failed)
                self._exit_code = EXIT_BOOT_FAILURE
                self._stop_requests = 1

    # --- what happens -------------------------------------------------------------------------

    def _woken(self) -> None:
        numbers = self._wake_read.recv(4096)
        for number in STOP_SIGNALS:
            if number in numbers:
                self._request_stop(signal.Signals(number).name)
        self._reap()

    def _reap(self) -> None:
        """Take every ended child; its process group is killed before its pid can be used again."""
        for pid, status in shutdown.ended_children():
            if pid == self._logger.pid:
                self._logger_died()
            elif pid in self._by_pid:
                self._gone(pid, status)
            elif self._by_request and len(self._unclaimed) < UNCLAIMED_EXITS_MAX:
                self._unclaimed[pid] = status
        if not self._by_request:
            self._unclaimed.clear()

    def _gone(self, pid: int, status: int) -> None:
        group, slot = self._by_pid.pop(pid)
        slot.pid = None
        self._exited(group, slot, exit_text(status))
        self._write_record()

    def _write_record(self) -> None:
        problem = self._record.write(self._by_pid)
        if problem:
            self._journal.write("cannot record the children", reason=problem)

    def _notices(self) -> None:
        for _ in range(NOTICES_PER_TURN):
            notice = self._notify.receive()
            if notice is None:
                return
            if notice.pid in self._by_pid:
                self._noticed(notice)

    def _noticed(self, notice: Notice) -> None:
        group, slot = self._by_pid[notice.pid]
        if notice.status is not None:
            slot.status = notice.status
        if notice.ready:
            self._feed(group, slot, policy.Ready())
        if notice.watchdog:
            self._feed(group, slot, policy.Heartbeat())

    def _watch_template(self, template: Template) -> None:
        if template.channel is not None:
            self._watch(template.channel, lambda: self._read_template(template))

    def _read_template(self, template: Template) -> None:
        before = template.channel
        unsafe = template.unsafe
        if before is None:
            return
        key = self._selector.get_key(before)
        answers = template.read()
        if template.channel is not before:
            self._selector.unregister(key.fd)
            self._watch_template(template)
        if template.unsafe != unsafe:
            self._journal.write("children start by exec: cannot fork", reason=template.unsafe)
        self._answers(answers)

    def _accept(self) -> None:
        client, oldest = self._control.accept()
        if oldest is not None:
            self._hang_up(oldest)
        if client is not None:
            self._watch(client, lambda: self._question(client))

    def _question(self, client: socket.socket) -> None:
        if not self._control.readable(client):
            self._hang_up(client)

    def _hang_up(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        self._control.forget(client)

    def _command(self, question: Mapping[str, object]) -> Answer:
        match question.get("command"):
            case "ls":
                now_ns = time.monotonic_ns()
                rows = [s.row(g.settings.name, now_ns) for g in self._groups for s in g.slots]
                return {
                    "supervisor": os.getpid(),
                    "rss": linux.rss_bytes(os.getpid()),
                    "rows": rows,
                }
            case "stop":
                self._request_stop("command")
                limit_ms = sum(g.settings.stop_timeout_ms for g in self._groups)
                return {"supervisor": os.getpid(), "limit_ms": limit_ms}
            case other:
                return {"error": f"unknown command {other!r}; known are ls, stop"}

    # --- the logger ---------------------------------------------------------------------------

    def _start_logger(self) -> None:
        self._logger_resume_ns = None
        self._logger_started_ns = time.monotonic_ns()
        try:
            self._logger.start()
        except OSError:
            self._logger_died()
        if self._logger.channel is not None:
            self._watch(self._logger.channel, self._tails)

    def _logger_died(self) -> None:
        now_ns = time.monotonic_ns()
        self._unwatch_logger()
        stable = now_ns - self._logger_started_ns > LOGGER_STABLE_NS
        self._logger_pause_ns = (
            0 if stable else min(2 * self._logger_pause_ns or LOGGER_PAUSE_NS, LOGGER_PAUSE_MAX_NS)
        )
        self._logger_resume_ns = now_ns + self._logger_pause_ns

    def _unwatch_logger(self) -> None:
        if self._logger.channel is not None:
            self._selector.unregister(self._logger.channel)
            self._logger.close()
        self._logger.pid = None

    def _tails(self) -> None:
        end = self._logger.channel
        assert end is not None
        key = self._selector.get_key(end)
        while (answer := self._logger.read_tail()) is not None:
            for group in self._groups:
                for slot in group.slots:
                    if slot.name == answer[0]:
                        slot.tail = answer[1]
        if self._logger.channel is None:
            self._selector.unregister(key.fd)

    # --- stopping -----------------------------------------------------------------------------

    def _request_stop(self, cause: str) -> None:
        """Stop in reverse order; the second request by signal kills."""
        self._stop_requests += 1
        self._journal.write("stop requested", cause=cause)
        if self._stop_requests > 1 and cause != "command":
            for group in self._groups:
                group.stopping = True
                for slot in group.slots:
                    self._feed(group, slot, policy.Kill())

    def _advance_stop(self) -> None:
        """Stop the last application that still runs, and the one before it when it has ended."""
        for group in reversed(self._groups):
            if not group.stopping:
                group.stopping = True
                for slot in group.slots:
                    self._feed(group, slot, policy.Stop())
            if not group.in_state(State.STOPPED):
                return

    def _finished(self) -> bool:
        return all(group.in_state(State.STOPPED) for group in self._groups)

    def _end(self) -> None:
        """End every process that is left, then remove every file."""
        for pid in self._by_pid:
            linux.signal_group(pid, signal.SIGKILL)
        for template in self._templates.values():
            template.close()
        self._journal.write("supervisor ends", code=self._exit_code)
        shutdown.end_children(self._logger.pid)
        self._logger.finish()
        shutdown.wait_for(self._logger.pid)
        self._logger.close()
        self._record.remove()
        self._notify.close()
        self._selector.close()
        self._control.close()
