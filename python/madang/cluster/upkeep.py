"""What the supervisor looks after by itself: heartbeats, balance, wear, load, schedules, files.

Ten times a second it reads the scoreboard, once a second /proc. What follows from it is decided by
pure parts (`policy`, `watchdog`, `balance`, `autoscale`, `recycle`) and done by operations, so that
the operator sees each replacement, and one application never has two at a time.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from madang.cluster import autoscale, balance, linux, policy, recycle, watchdog
from madang.cluster.application import Application, Child
from madang.cluster.handles import Share
from madang.cluster.inotify import Inotify
from madang.cluster.journal import Journal
from madang.cluster.loop import Loop
from madang.cluster.policy import MS, State
from madang.cluster.processes import Processes
from madang.cluster.schedule import next_after
from madang.cluster.settings import Balance

TICK_NS = 100 * MS
CALM_TICK_NS = 20 * MS
RUSH_TICK_NS = 4 * MS
"""How often shares are renewed while connections come, and while RUSH of them come in between."""
RUSH = 32
SLOW_TICKS = 10
COMING_MIN = 8
HORIZON_NS = 100 * MS
FILES_REST_NS = 200 * MS
NOT_WATCHED_MAX = 20
"""Things that are not watched, of which an application is told."""
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Begin = Callable[[Application, str, str], None]
"""Ask for an operation on an application: (application, what: instance name or number, why)."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Operations that upkeep may ask for; each is refused silently while another one runs."""

    busy: Callable[[str], bool]
    replace: Begin
    scale: Begin
    reload: Begin
    remember: Callable[[Sequence[Application]], None]
    """Called once a second, for the history that operators are shown."""


class Upkeep:
    """Periodic work of one supervisor."""

    def __init__(
        self,
        loop: Loop,
        processes: Processes,
        journal: Journal,
        wishes: Wishes,
        share: Share | None = None,
    ) -> None:
        """Look after `processes`; `share` is what another of us left."""
        self._loop = loop
        self._processes = processes
        self._journal = journal
        self._wishes = wishes
        self._ticks = 0
        self._looked_ns = time.monotonic_ns()
        self._slow_ns = self._looked_ns
        self._counts: dict[Application, dict[int, int]] = {}
        self._recent: dict[Application, tuple[float, int]] = {}
        self._scaling: dict[Application, autoscale.Scaling] = {}
        self._due_s: dict[Application, float] = {}
        self._files: dict[Application, Inotify] = {}
        self._files_changed_ns: dict[Application, int] = {}
        self._not_watched: dict[Application, set[str]] = {}
        loop.every(TICK_NS, self._tick)
        for name, left in (share or {}).items():
            self._take_over(processes.applications[name], left)

    def leave(self) -> Share:
        """Return what a successor needs: what is due, and which changes of files are not lost."""
        return {
            application.name: {
                "due_s": self._due_s.get(application),
                "files": self._files[application].leave() if application in self._files else None,
                "changed": application in self._files_changed_ns,
            }
            for application in self._processes.applications.values()
        }

    def _take_over(self, application: Application, share: Share) -> None:
        if share["due_s"] is not None:
            self._due_s[application] = share["due_s"]
        if share["files"] is not None:
            self._files[application] = found = Inotify((), share["files"])
            self._loop.watch(found, lambda: self._file_changed(application))
        if share["changed"]:
            self._files_changed_ns[application] = time.monotonic_ns()

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        span_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        self._ticks += 1
        coming = 0
        for application in list(self._processes.applications.values()):
            for child in application.children():
                self._look(child, span_ns)
            coming = max(coming, self._balance(application))
        self._balance_again(coming)
        if self._ticks % SLOW_TICKS == 0:
            self._look_slowly(now_ns)

    def _look(self, child: Child, span_ns: int) -> None:
        """Notice a heartbeat, or judge silence."""
        if child.row is None or child.pid is None:
            return
        beats = child.scores.heartbeat
        if beats != child.beats:
            child.beats = beats
            self._processes.feed(child, policy.Heartbeat())
        elif child.state is State.STALLED:
            waits = linux.main_thread_waits(child.pid)
            excused = watchdog.excused_ns(child.stillness, waits, span_ns)
            child.stillness = waits
            if excused:
                self._processes.feed(child, policy.Excused(excused))

    # --- new connections ----------------------------------------------------------------------

    def _keep_balance(self) -> None:
        """Look again soon, for as long as connections come."""
        found = [self._balance(a) for a in list(self._processes.applications.values())]
        self._balance_again(max(found, default=0))

    def _balance_again(self, coming: int) -> None:
        period_ns = RUSH_TICK_NS if coming >= RUSH else CALM_TICK_NS
        at_ns = time.monotonic_ns() + period_ns
        if coming and at_ns < self._looked_ns + TICK_NS:
            self._loop.at(at_ns, self._keep_balance)

    def _balance(self, application: Application) -> int:
        """Renew the shares of the live slots; return how many connections came."""
        live = application.live()
        if not application.ports or len(live) < 2:
            application.shares = {}
            return 0
        settings = application.settings
        if settings.balance is Balance.WEIGHTS:
            application.shares = balance.fixed(sorted(live), settings.weights)
            application.steer()
            return 0
        counts = {index: self._connections(application, index) for index in live}
        before = self._counts.get(application, {})
        self._counts[application] = counts
        coming = sum(max(0, count - before.get(index, 0)) for index, count in counts.items())
        if counts != before:
            expected = max(round(self._recently(application, coming)), COMING_MIN)
            least = settings.balance is Balance.LEAST_CONNECTIONS
            choose = balance.least if least else balance.even
            application.shares = choose(counts, expected)
            application.steer()
        return coming

    def _recently(self, application: Application, coming: int) -> float:
        """Return how many came within HORIZON_NS or so.

        Counts lag behind: what a worker has accepted it has not counted yet. Levelling within a
        shorter time than that lag would chase its own echo.
        """
        now_ns = time.monotonic_ns()
        before, at_ns = self._recent.get(application, (0.0, now_ns))
        recent = before * math.exp((at_ns - now_ns) / HORIZON_NS) + coming
        self._recent[application] = (recent, now_ns)
        return recent

    def _connections(self, application: Application, index: int) -> int:
        queued = sum(port.queued(index) for port in application.ports)
        return application.slots[index].child.scores.connections + queued

    # --- once a second ------------------------------------------------------------------------

    def _look_slowly(self, now_ns: int) -> None:
        span_ns, self._slow_ns = now_ns - self._slow_ns, now_ns
        for application in list(self._processes.applications.values()):
            for child in application.children():
                self._measure(child, span_ns)
            if application.stopping:
                continue
            self._replace_worn(application, now_ns)
            self._autoscale(application, now_ns)
            self._keep_schedule(application)
            self._watch_files(application, now_ns)
        self._wishes.remember(list(self._processes.applications.values()))
        self._forget_gone()

    def _measure(self, child: Child, span_ns: int) -> None:
        if child.pid is None:
            return
        ticks = linux.cpu_ticks(child.pid)
        if child.cpu_ticks:
            used_ns = (ticks - child.cpu_ticks) * 1_000_000_000 // CLOCK_TICKS_PER_S
            child.cpu_percent = max(0.0, 100 * used_ns / span_ns)
        child.cpu_ticks = ticks
        child.rss = linux.rss_bytes(child.pid)

    def _replace_worn(self, application: Application, now_ns: int) -> None:
        if self._wishes.busy(application.name):
            return
        ready = [s for s in application.slots if s.child.state is State.READY]
        for slot in sorted(ready, key=lambda slot: slot.child.instance.started_ns):
            child = slot.child
            wear = recycle.Wear(
                slot.index, child.rss, child.uptime_s(now_ns), child.scores.requests
            )
            why = recycle.reason(wear, application.settings)
            if why:
                self._wishes.replace(application, child.name, why)
                return

    def _autoscale(self, application: Application, now_ns: int) -> None:
        limits = application.settings.autoscale
        if limits is None or self._wishes.busy(application.name):
            return
        ready = [s.child for s in application.slots if s.child.state is State.READY]
        if not ready:
            return
        load = autoscale.Load(
            sum(child.cpu_percent for child in ready) / len(ready),
            max(child.scores.loop_lag_us for child in ready) / 1_000,
        )
        before = self._scaling.get(application, autoscale.Scaling())
        count = len(application.slots)
        self._scaling[application], wanted = autoscale.step(before, load, count, now_ns, limits)
        if wanted != count:
            why = f"CPU {load.cpu_percent:.0f}%, loop lag {load.lag_ms:.0f} ms"
            self._wishes.scale(application, str(wanted), why)

    def _keep_schedule(self, application: Application) -> None:
        expression = application.settings.restart_schedule
        if not expression:
            return
        wall_s = time.time()
        due_s = self._due_s.setdefault(application, next_after(expression, wall_s))
        if wall_s >= due_s and not self._wishes.busy(application.name):
            self._due_s[application] = next_after(expression, wall_s)
            self._wishes.reload(application, application.name, f"schedule {expression}")

    def _watch_files(self, application: Application, now_ns: int) -> None:
        settings = application.settings
        if not settings.watch_files:
            return
        if application not in self._files:
            paths = [os.path.join(settings.directory, path) for path in settings.watch_files]
            try:
                self._files[application] = found = Inotify(paths)
            except OSError as error:
                self._cannot_watch(application, [str(error)])
                return
            self._cannot_watch(application, found.take_problems())
            self._loop.watch(found, lambda: self._file_changed(application))
        changed_ns = self._files_changed_ns.get(application)
        if changed_ns is not None and not self._wishes.busy(application.name):
            self._reload_changed(application)

    def _cannot_watch(self, application: Application, problems: list[str]) -> None:
        """Say what is not watched, each thing once."""
        said = self._not_watched.setdefault(application, set())
        for problem in problems:
            if problem not in said and len(said) < NOT_WATCHED_MAX:
                said.add(problem)
                self._journal.write("cannot watch files", name=application.name, reason=problem)

    def _file_changed(self, application: Application) -> None:
        found = self._files[application]
        changed = found.changed()
        self._cannot_watch(application, found.take_problems())
        if changed:
            now_ns = time.monotonic_ns()
            fresh = application not in self._files_changed_ns
            self._files_changed_ns[application] = now_ns
            if fresh:
                self._loop.at(now_ns + FILES_REST_NS, lambda: self._reload_changed(application))

    def _reload_changed(self, application: Application) -> None:
        """Reload once nothing has changed for a moment; a busy application is looked at later.

        One that was stopped stays so: it begins with the changed files when it is started.
        """
        changed_ns = self._files_changed_ns.get(application)
        if changed_ns is None or application.name not in self._processes.applications:
            return
        if application.stopping:
            del self._files_changed_ns[application]
            return
        rest_ns = changed_ns + FILES_REST_NS - time.monotonic_ns()
        if rest_ns > 0:
            self._loop.at(changed_ns + FILES_REST_NS, lambda: self._reload_changed(application))
        elif not self._wishes.busy(application.name):
            del self._files_changed_ns[application]
            self._wishes.reload(application, application.name, "files have changed")

    def _forget_gone(self) -> None:
        known = set(self._processes.applications.values())
        for application in set(self._files) - known:
            found = self._files.pop(application)
            self._loop.unwatch(found)
            found.close()
        for table in (
            self._counts,
            self._recent,
            self._scaling,
            self._due_s,
            self._files_changed_ns,
            self._not_watched,
        ):
            for application in set(table) - known:
                del table[application]

    def close(self) -> None:
        """Watch no files any more."""
        for found in self._files.values():
            found.close()
