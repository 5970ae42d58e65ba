"""The commands of the control socket: a question in, an answer or the start of an operation out."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from madang.cluster import linux, measures, policy
from madang.cluster.application import Application, Slot
from madang.cluster.applications import Applications
from madang.cluster.control import Answer, Later, Reply
from madang.cluster.entries import decode_application, parse_instances
from madang.cluster.errors import OperationRefused
from madang.cluster.history import History
from madang.cluster.operations import (
    Operation,
    Operations,
    OperationState,
    Procedure,
    one_after_the_other,
)
from madang.cluster.procedures import Procedures
from madang.cluster.processes import Processes
from madang.cluster.reloading import Reloading
from madang.cluster.settings import INSTANCES_MAX, Kind
from madang.cluster.views import describe, dump, environment, rows, summaries
from madang.core.errors import MadangError

OPERATIONS_SHOWN = 10
TEXT_BYTES_MAX = 32 * 1024
ALL = "all"
Question = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What is asked of the supervisor as a whole."""

    end: Callable[[], Answer]
    upgrade: Callable[[Operation], Procedure]


class Commands:
    """Everything that can be asked of a supervisor."""

    def __init__(
        self,
        applications: Applications,
        processes: Processes,
        operations: Operations,
        lifetime: Lifetime,
    ) -> None:
        self.past = History()
        self._applications = applications
        self._processes = processes
        self._operations = operations
        self._lifetime = lifetime
        self._procedures = Procedures(applications, processes)
        self._reloading = Reloading(applications, processes, self._procedures)
        self._table: dict[str, Callable[[Question], Answer | Later]] = {
            "delete": self._delete,
            "describe": self._describe,
            "dump": self._dump,
            "env": lambda question: {"environment": environment(*self._one(question))},
            "ls": self._ls,
            "history": lambda question: self.past.answer(question.get("after")),
            "metrics": lambda _: {
                "samples": measures.samples(self._applications.all()),
                "help": measures.helps(),
            },
            "operation": self._operation,
            "reload": self._reload,
            "reset": self._reset,
            "restart": self._restart,
            "scale": self._scale,
            "send": self._send,
            "signal": self._signal,
            "start": self._start,
            "stop": self._stop,
            "tail": self._tail,
            "upgrade": self._upgrade,
        }

    def answer(self, question: Question) -> Answer | Later:
        """Answer one question; what is refused says why."""
        name = question.get("command")
        command = self._table.get(str(name))
        if command is None:
            known = ", ".join(sorted(self._table))
            return {"error": f"unknown command {name!r}; known are {known}"}
        try:
            return command(question)
        except MadangError as error:
            return {"error": error.message}
        except OSError as error:
            return {"error": f"the system refuses: {error}"}

    # --- looking ------------------------------------------------------------------------------

    def _ls(self, question: Question) -> Answer:
        found = self._applications.all()
        now_ns = time.monotonic_ns()
        logger = self._processes.logger
        return {
            "supervisor": os.getpid(),
            "rss": linux.rss_bytes(os.getpid()),
            "rows": [row for application in found for row in rows(application, now_ns)],
            "applications": summaries(found),
            "operations": [o.answer() for o in self._operations.last(OPERATIONS_SHOWN)],
            "log": {"dropped_lines": logger.dropped_lines, "problem": logger.problem},
        }

    def _dump(self, question: Question) -> Answer:
        found = self._applications.all()
        stopped = [application.name for application in found if application.stopping]
        return {"applications": dump(found), "stopped": stopped}

    def _operation(self, question: Question) -> Answer:
        found = self._operations.find(question.get("id"))
        if found is None:
            raise OperationRefused(f"there is no operation {question.get('id')!r}")
        return found.answer()

    def _describe(self, question: Question) -> Answer:
        application, slots = self._applications.find(_name(question))
        return describe(application, slots, time.monotonic_ns())

    def _one(self, question: Question) -> tuple[Application, Slot]:
        application, slots = self._applications.find(_name(question))
        return application, slots[0]

    def _tail(self, question: Question) -> Later:
        _, slot = self._one(question)
        limit = question.get("lines", 20)
        count = limit if isinstance(limit, int) and limit > 0 else 20

        def later(reply: Reply) -> None:
            def said(lines: list[str]) -> None:
                reply({"name": slot.name, "lines": lines[-count:]})

            self._processes.logger.ask_tail(slot.child.stream, said)

        return Later(later)

    # --- talking to processes -----------------------------------------------------------------

    def _signal(self, question: Question) -> Answer:
        word = str(question.get("signal", "")).upper()
        number = signal.Signals.__members__.get(word if word.startswith("SIG") else f"SIG{word}")
        if number is None:
            raise OperationRefused(f"there is no signal {word!r}")
        _, slots = self._applications.find(_name(question))
        pids = [c.pid for slot in slots for c in slot.children() if c.pid is not None]
        for pid in pids:
            linux.signal_process(pid, number)
        return {"pids": pids}

    def _send(self, question: Question) -> Answer:
        text = _bytes(str(question.get("text", "")))
        if len(text) > TEXT_BYTES_MAX:
            raise OperationRefused(f"expected at most {TEXT_BYTES_MAX} bytes of text")
        application, slots = self._applications.find(_name(question))
        if not application.settings.is_foreign:
            what = "an ASGI application" if application.settings.kind is Kind.ASGI else "a role"
            raise OperationRefused(f"{application.name} reads no input: it is {what}")
        sent: list[str] = []
        for slot in slots:
            if slot.child.input is None:
                raise OperationRefused(f"{slot.name} does not run")
            try:
                written = os.write(slot.child.input, text)
            except (BlockingIOError, BrokenPipeError) as error:
                text_for = (
                    "does not read its input" if error.errno != 32 else "has closed its input"
                )
                raise OperationRefused(f"{slot.name} {text_for}") from error
            if written < len(text):
                raise OperationRefused(f"{slot.name} took only {written} of {len(text)} bytes")
            sent.append(slot.name)
        return {"sent": sent}

    def _reset(self, question: Question) -> Answer:
        names = self._names(question)
        for name in names:
            for slot in self._applications.find(name)[1]:
                slot.causes.clear()
                for child in slot.children():
                    child.instance = policy.forget_restarts(child.instance)
        return {"reset": names}

    # --- operations ---------------------------------------------------------------------------

    def _start(self, question: Question) -> Answer:
        entry = question.get("application")
        if isinstance(entry, dict):
            application = self._applications.add(decode_application(entry))
            if question.get("stopped") is True:
                self._applications.rest(application)
                return self._begin("stop", [application.name], self._stopping)
            return self._begin("start", [application.name], self._starting)
        return self._begin("start", self._names(question), self._starting)

    def _starting(self, operation: Operation, name: str) -> Procedure:
        application, slots = self._applications.find(name)
        return self._procedures.start(operation, application, slots)

    def _stop(self, question: Question) -> Answer:
        if "name" not in question:
            if question.get("if_empty") is True and self._applications.all():
                raise OperationRefused("there is something that was started")
            return self._lifetime.end()
        names = self._names(question)
        self._interrupt(names, "stopped by the operator")

        return self._begin("stop", names, self._stopping)

    def _stopping(self, operation: Operation, name: str) -> Procedure:
        return self._procedures.stop(operation, *self._applications.find(name))

    def _delete(self, question: Question) -> Answer:
        names = self._names(question)
        for name in names:
            application, _ = self._applications.find(name)
            if application.name != name:
                raise OperationRefused(f"only a whole application is deleted: {application.name}")
        self._interrupt(names, "deleted by the operator")

        def procedure(operation: Operation, name: str) -> Procedure:
            return self._procedures.delete(operation, self._applications.find(name)[0])

        return self._begin("delete", names, procedure)

    def _upgrade(self, question: Question) -> Answer:
        names = [application.name for application in self._applications.all()]
        procedure = self._lifetime.upgrade
        operation = self._operations.begin("upgrade", "madang", names, procedure)
        return {"operation": operation.id}

    def _restart(self, question: Question) -> Answer:
        def procedure(operation: Operation, name: str) -> Procedure:
            return self._procedures.restart(operation, *self._applications.find(name))

        return self._begin("restart", self._names(question), procedure)

    def _reload(self, question: Question) -> Answer:
        return self._begin("reload", self._names(question), self._reloading_of(fresh=True))

    def _reloading_of(self, *, fresh: bool) -> Callable[[Operation, str], Procedure]:
        def procedure(operation: Operation, name: str) -> Procedure:
            application, slots = self._applications.find(name)
            if application.stopping:
                return self._procedures.start(operation, application, slots)
            return self._reloading.reload(operation, application, slots, fresh)

        return procedure

    def _scale(self, question: Question) -> Answer:
        application, _ = self._applications.find(_name(question))
        wanted = _scaled(application, str(question.get("instances", "")))
        if application.settings.exclusive and wanted > 1:
            raise OperationRefused(f"{application.name} is exclusive: there can be only one")
        return self.scale(application, wanted, "")

    def scale_to(self, application: Application, count: str, why: str) -> None:
        """Begin to scale, for a reason that the operator shall see."""
        self.scale(application, int(count), why)

    def scale(self, application: Application, wanted: int, why: str) -> Answer:
        """Begin to scale; a scaling under way is superseded, anything else refuses."""
        for other in self._operations.running():
            if other.kind == "scale" and application.name in other.applications:
                text = "superseded by another scale"
                self._operations.cancel(application.name, text, OperationState.DONE)

        def procedure(operation: Operation, name: str) -> Procedure:
            operation.say(f"to {wanted} instances{': ' if why else ''}{why}")
            return self._procedures.scale(operation, application, wanted)

        return self._begin("scale", [application.name], procedure)

    def replace(self, application: Application, name: str, why: str) -> None:
        """Begin to replace one instance, or all, by others from the same code."""
        self._begin("replace", [name], self._reloading_of(fresh=False), why)

    def reload(self, application: Application, name: str, why: str) -> None:
        """Begin to reload, for a reason that the operator shall see."""
        self._begin("reload", [name], self._reloading_of(fresh=True), why)

    def _begin(
        self,
        kind: str,
        names: list[str],
        procedure: Callable[[Operation, str], Procedure],
        why: str = "",
    ) -> Answer:
        """Begin an operation that goes through `names` one after the other."""

        def each(operation: Operation) -> Procedure:
            if why:
                operation.say(why)
            yield from one_after_the_other(operation, names, procedure)

        owners = [self._applications.find(name)[0].name for name in names]
        shown = names[0] if len(names) == 1 else ALL
        operation = self._operations.begin(kind, shown, owners, each)
        return {"operation": operation.id}

    def _interrupt(self, names: list[str], reason: str) -> None:
        for name in names:
            owner = self._applications.find(name)[0].name
            self._operations.cancel(owner, reason, OperationState.FAILED)

    def _names(self, question: Question) -> list[str]:
        name = _name(question)
        if name == ALL:
            return [application.name for application in self._applications.all()]
        self._applications.find(name)
        return [name]


def _name(question: Question) -> str:
    name = question.get("name")
    if not isinstance(name, str) or not name:
        raise OperationRefused('expected "name": an application, an instance, or "all"')
    return name


def _bytes(text: str) -> bytes:
    """Return the bytes that were typed; those that are no UTF-8 come as surrogates."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise OperationRefused("expected a text that stands for bytes") from error


def _scaled(application: Application, word: str) -> int:
    """Return what "4", "+2", "-1" or "max" make of the wanted number; "0" is not all cores here."""
    if word[:1] in ("+", "-") and word[1:].isdecimal():
        wanted = application.wanted + int(word)
    else:
        wanted = parse_instances(word)[0] if word.strip("0") or not word else 0
    if not 1 <= wanted <= INSTANCES_MAX:
        remedy = f": use `madang stop {application.name}`" if wanted == 0 else ""
        raise OperationRefused(f"expected 1 to {INSTANCES_MAX} instances, not {wanted}{remedy}")
    return wanted
