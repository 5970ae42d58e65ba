"""The policy's shell: makes, signals and reaps processes, and tells the policy what happened.

Every change of an instance goes through `feed`; everything decided is `policy.step`. Nothing here
waits. Which processes there should be is said by others: `procedures`, and `reloading`.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from madang.cluster import channel, escaped, linux, policy, shutdown
from madang.cluster.application import Application, Child
from madang.cluster.execute import execute
from madang.cluster.handles import Share, handle, opened
from madang.cluster.journal import Journal
from madang.cluster.logger_host import LoggerHost
from madang.cluster.loop import Loop
from madang.cluster.notify import Listener, Notice
from madang.cluster.policy import Action, State
from madang.cluster.probe import Probe
from madang.cluster.records import Record
from madang.cluster.scoreboard import Scoreboard, Scores
from madang.cluster.settings import ClusterSettings
from madang.cluster.specs import LAUNCHER, child_table, exit_text, launch_variables
from madang.cluster.templates import Spawned, SpawnRequest, Template, Templates

UNCLAIMED_EXITS_MAX = 1_024
NOTICES_PER_TURN = 256
MESSAGES_PER_TURN = 16


class Processes:
    """All children of one supervisor."""

    def __init__(
        self,
        settings: ClusterSettings,
        loop: Loop,
        logger: LoggerHost,
        journal: Journal,
        share: Share | None = None,
    ) -> None:
        """Have no children yet; `share` is what another of us left, except for its children."""
        left = share or {}
        self.settings = settings
        self.logger = logger
        self.journal = journal
        board = opened(left.get("board"))
        self.board = Scoreboard.create() if board is None else Scoreboard(board)
        self.templates = Templates(
            logger.add("template", "template", "madang"), self._watch_template
        )
        self.applications: dict[str, Application] = {}
        self.by_pid: dict[int, Child] = {}
        self.helpers: dict[int, Callable[[int], None]] = {}
        """Processes that are no children of an application: called with their wait status."""
        self.on_change: Callable[[Child], None] = lambda _: None
        self._loop = loop
        self._by_request: dict[int, Child] = {}
        self._probes: dict[Child, Probe] = {}
        self._unclaimed: dict[int, int] = {}
        self._request_ids = itertools.count(1)
        self._record = Record(settings.runtime_dir)
        self._notify = Listener(settings.runtime_dir / "notify.sock", opened(left.get("notify")))
        self._open_notify: Listener | None = None
        loop.watch(self._notify.socket, lambda: self._notices(self._notify))
        if left.get("open_notify") is not None:
            self._open_to_all(Listener(left["open_address"], opened(left["open_notify"])))
        for template in left.get("templates", ()):
            self.templates.take_over(template)

    # --- another of us ------------------------------------------------------------------------

    def leave(self) -> Share:
        """Return what a successor needs, except for the children."""
        everyone = self._open_notify
        return {
            "board": handle(self.board.descriptor),
            "notify": handle(self._notify.socket),
            "open_notify": None if everyone is None else handle(everyone.socket),
            "open_address": "" if everyone is None else everyone.address,
            "templates": [template.leave() for template in self.templates.all()],
        }

    def take_child(self, child: Child, end: int | None, given_input: int | None) -> None:
        """Take over a child that another of us left, with our end of its channel and its input."""
        child.input = given_input
        if child.pid is not None:
            self.by_pid[child.pid] = child
        if child.row is not None:
            self.board.claim(child.row)
            child.scores = self.board.scores(child.row)
        if end is not None:
            child.channel = ours = socket.socket(fileno=end)
            ours.setblocking(False)
            self._loop.watch(ours, lambda: self._heard(child, ours))

    def go_on(self) -> None:
        """Go on where another of us has left off: every watchdog starts anew."""
        for template in self.templates.all():
            self._watch_template(template)
        self._write_record()
        now_ns = time.monotonic_ns()
        for child in self.by_pid.values():
            if child.state is State.READY:
                child.instance = replace(child.instance, heartbeat_ns=now_ns)
            elif child.state is State.STARTING:
                self._await_ready(child)

    @property
    def is_starting(self) -> bool:
        """Whether a process has been asked for that is not yet there."""
        return bool(self._by_request)

    # --- events in, actions out ---------------------------------------------------------------

    def limits(self, child: Child) -> policy.Limits:
        """Return what the policy holds this child to."""
        return child.application.limits

    def feed(self, child: Child, event: policy.Event) -> None:
        """Tell the policy that `event` happened to `child`, and do what it says."""
        before = child.instance.state
        now_ns = time.monotonic_ns()
        child.instance, actions = policy.step(child.instance, event, now_ns, self.limits(child))
        after = child.instance
        if after.state is not before or Action.SPAWN in actions:
            self.journal.write(
                "instance", name=child.name, state=str(after.state), before=str(before),
                pid=child.pid, generation=child.generation, last_exit=after.last_exit,
                restarts=after.restarts,
            )  # fmt: skip
        if after.state is not before:
            self._forget_probe(child)
        for action in actions:
            self._do(child, action)
        if after.state is not before:
            self.on_change(child)

    def _do(self, child: Child, action: Action) -> None:
        match action:
            case Action.SPAWN:
                self._spawn(child)
            case Action.ADMIT | Action.WITHDRAW:
                if child.pid is not None:
                    child.stillness = linux.main_thread_waits(child.pid)
                child.application.steer()
            case Action.TERMINATE:
                self._signal(child, signal.Signals[child.application.settings.stop_signal])
            case Action.ABORT:
                self._signal(child, signal.SIGABRT)
            case Action.KILL:
                self._signal(child, signal.SIGKILL)
            case Action.REPORT:
                self.logger.ask_tail(child.stream, lambda lines: self._reported(child, lines))

    def _reported(self, child: Child, lines: list[str]) -> None:
        child.tail = lines
        self.on_change(child)

    def deadlines(self) -> list[int]:
        """Return when the policy next wants to be asked about each child."""
        found = [
            policy.deadline_ns(child.instance, self.limits(child))
            for application in self.applications.values()
            for child in application.children()
        ]
        return [at for at in found if at is not None]

    def tick(self, now_ns: int) -> None:
        """Tell the policy about every deadline that has passed."""
        for application in list(self.applications.values()):
            for child in application.children():
                at = policy.deadline_ns(child.instance, self.limits(child))
                if at is not None and now_ns >= at:
                    self.feed(child, policy.Tick())

    # --- birth --------------------------------------------------------------------------------

    def _spawn(self, child: Child) -> None:
        child.close_channels()
        child.slot.incarnation += 1
        child.incarnation = child.slot.incarnation
        child.status, child.beats, child.handing_over = "", 0, 0
        child.cpu_ticks, child.cpu_percent = 0, 0.0
        child.row = self.board.take()
        child.scores = Scores() if child.row is None else self.board.scores(child.row)
        child.request_id = number = next(self._request_ids)
        self._by_request[number] = child
        begin = self._launch if child.application.settings.is_foreign else self._fork
        try:
            answers = begin(child, number)
        except OSError as error:
            answers = [Spawned(number, None, error.strerror or repr(error))]
        self._answers(answers)

    def _fork(self, child: Child, number: int) -> list[Spawned]:
        """Have a process of ours made by its template; return the answer if it is known at once."""
        child.channel, child.their_channel = channel.pair()
        child.channel.setblocking(False)
        ours = child.channel
        self._loop.watch(ours, lambda: self._heard(child, ours))
        descriptors = (
            child.output,
            child.their_channel.fileno(),
            self.board.descriptor,
            *child.application.listeners(child.slot.index),
        )
        spec = child_table(self.settings, child, self._notify_address(child))
        variables = child.application.settings.environment
        assert child.template is not None
        return child.template.spawn(SpawnRequest(number, spec, descriptors, variables))

    def _launch(self, child: Child, number: int) -> list[Spawned]:
        """Start a program that is not ours. Raises OSError where it cannot be."""
        theirs, child.input = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(child.input, False)
        variables = launch_variables(self.settings, child, self._notify_address(child))
        try:
            pid = execute(
                ["-I", "-S", LAUNCHER],
                variables,
                child.application.listeners(child.slot.index),
                child.output,
                theirs,
            )
        finally:
            os.close(theirs)
        return [Spawned(number, pid)]

    def _notify_address(self, child: Child) -> str:
        """Return where the child notifies; other users reach an abstract address only."""
        if not child.application.settings.user:
            return os.path.abspath(self._notify.address)
        if self._open_notify is None:
            listener = Listener(f"@madang-{os.getpid()}-{random.getrandbits(64):x}")
            self._open_to_all(listener)
            return listener.address
        return self._open_notify.address

    def _open_to_all(self, listener: Listener) -> None:
        self._open_notify = listener
        self._loop.watch(listener.socket, lambda: self._notices(listener))

    def _answers(self, answers: list[Spawned]) -> None:
        for answer in answers:
            child = self._by_request.pop(answer.id)
            child.request_id = None
            if child.their_channel is not None:
                child.their_channel.close()
                child.their_channel = None
            if answer.pid is None:
                self._exited(child, f"cannot start: {answer.reason}")
                continue
            child.pid = answer.pid
            self.by_pid[answer.pid] = child
            self._write_record()
            number, child.pending_signal = child.pending_signal, None
            if number is not None:
                self._signal(child, number)
            if answer.pid in self._unclaimed:
                self._gone(answer.pid, self._unclaimed.pop(answer.pid))
            else:
                self._await_ready(child)

    def _await_ready(self, child: Child) -> None:
        wanted = child.application.settings.ready
        if wanted == "started":
            self.feed(child, policy.Ready())
        elif wanted != "notify" and child.state is State.STARTING:
            port = child.application.own_port(child.slot.index)
            url = wanted.replace("{port}", str(port))
            self._probes[child] = Probe(self._loop, url, lambda: self.feed(child, policy.Ready()))

    def _forget_probe(self, child: Child) -> None:
        probe = self._probes.pop(child, None)
        if probe is not None:
            probe.cancel()

    # --- what children say --------------------------------------------------------------------

    def _notices(self, listener: Listener) -> None:
        for _ in range(NOTICES_PER_TURN):
            notice = listener.receive()
            if notice is None:
                return
            if notice.pid in self.by_pid:
                self._noticed(self.by_pid[notice.pid], notice)

    def _noticed(self, child: Child, notice: Notice) -> None:
        if notice.status is not None:
            child.status = notice.status
        if notice.ready and child.application.settings.ready == "notify":
            self.feed(child, policy.Ready())
        if notice.watchdog and child.application.settings.is_foreign:
            self.feed(child, policy.Heartbeat())

    def _heard(self, child: Child, end: socket.socket) -> None:
        """Read what a role says over its channel: that a hand-over is done."""
        try:
            for _ in range(MESSAGES_PER_TURN):
                message, descriptors = channel.receive(end)
                for descriptor in descriptors:
                    os.close(descriptor)
                if message.get("kind") == "handed_over" and child.channel is end:
                    child.handing_over -= 1
                    self.on_change(child)
        except BlockingIOError:
            return
        except (channel.ChannelClosed, ValueError):
            self._loop.unwatch(end)  # its exit follows

    # --- death --------------------------------------------------------------------------------

    def _signal(self, child: Child, number: signal.Signals) -> None:
        """Signal a child: SIGKILL its whole group; one not yet there gets it when it is."""
        if child.pid is None:
            template = child.template
            request_id = child.request_id
            if request_id is not None and template is not None and template.withdraw(request_id):
                del self._by_request[request_id]
                child.request_id = None
                self._close_if_left(template)
                self._exited(child, "never started")
            else:
                child.pending_signal = number
        elif number is signal.SIGKILL:
            linux.signal_group(child.pid, number)
        else:
            linux.signal_process(child.pid, number)

    def reap(self) -> None:
        """Take every ended child; its group is killed before its pid can be used again."""
        ended = False
        for pid, status in shutdown.ended_children():
            ended = True
            if pid == self.logger.pid:
                self.logger.died()
            elif pid in self.helpers:
                self.helpers.pop(pid)(status)
            elif pid in self.by_pid:
                self._gone(pid, status)
            elif self._by_request and len(self._unclaimed) < UNCLAIMED_EXITS_MAX:
                self._unclaimed[pid] = status
        if not self._by_request:
            self._unclaimed.clear()
        if ended:
            self._end_orphans()

    def _gone(self, pid: int, status: int) -> None:
        child = self.by_pid.pop(pid)
        self._exited(child, exit_text(status))
        self._write_record()

    def _end_orphans(self) -> None:
        """End what left the process group of a child that is gone."""
        known = {*self.by_pid, self.logger.pid or 0}
        folder = os.path.abspath(self.settings.runtime_dir)
        own = os.getpid()
        lives = {escaped.life(own, c.name, c.incarnation) for c in self.by_pid.values()}
        for pid in escaped.orphans(known, lives, folder):
            self.journal.write("ended what a child had left behind", pid=pid)
            linux.signal_group(pid, signal.SIGKILL)

    def _exited(self, child: Child, reason: str) -> None:
        cause = _cause(child, reason)
        child.slot.note_exit(cause, child)
        child.pid = None
        child.pending_signal = None
        if child.channel is not None:
            with suppress(KeyError):
                self._loop.unwatch(child.channel)
        child.close_channels()
        self._forget_probe(child)
        row, child.row = child.row, None
        child.application.keep(child.scores)
        child.scores = Scores()
        if row is not None:
            self.board.give_back(row)
        jitter = random.randrange(policy.JITTER_SCALE)
        self.feed(child, policy.Exited(reason, jitter))
        if child.state in (State.STARTING, State.BACKOFF):
            child.application.note_restart(cause)
        child.application.steer()

    def _write_record(self) -> None:
        problem = self._record.write(self.by_pid)
        if problem:
            self.journal.write("cannot record the children", reason=problem)

    # --- templates ----------------------------------------------------------------------------

    def release_template(self, template: Template) -> None:
        """Leave a template; the last one closes it, once nobody waits for a child of it."""
        self.templates.release(template)
        self._close_if_left(template)

    def _close_if_left(self, template: Template) -> None:
        if template.users == 0 and not template.is_asked:
            if template.channel is not None:
                self._loop.unwatch(template.channel)
            template.close()

    def _watch_template(self, template: Template) -> None:
        end = template.channel
        if end is not None:
            self._loop.watch(end, lambda: self._read_template(template))

    def _read_template(self, template: Template) -> None:
        before, unsafe = template.channel, template.unsafe
        if before is None:
            return
        descriptor = before.fileno()
        answers = template.read()
        if template.channel is not before:
            self._loop.unwatch(descriptor)
            self._watch_template(template)
        if template.unsafe != unsafe:
            self.journal.write("children start by exec: cannot fork", reason=template.unsafe)
        self._close_if_left(template)
        self._answers(answers)

    # --- the end ------------------------------------------------------------------------------

    def end(self) -> None:
        """Kill every child that is left and end the templates."""
        for pid in self.by_pid:
            linux.signal_group(pid, signal.SIGKILL)
        for template in self.templates.all():
            template.close()

    def close(self) -> None:
        """Remove every file."""
        self._record.remove()
        self._notify.close()
        if self._open_notify is not None:
            self._open_notify.close()
        for application in self.applications.values():
            for child in application.children():
                child.close_channels()
            application.close_ports()
        self.board.close()


def _cause(child: Child, reason: str) -> str:
    return f"{child.instance.cause} ({reason})" if child.instance.cause else reason
