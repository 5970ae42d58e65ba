"""What a supervisor leaves to the one that takes its place in the same process, as plain data.

The parts of the supervisor write and read their own share; here is that of the applications, each
field of which is carried, or named among those that are made anew. Reading it back does nothing to
any process, socket or file: a check in another process does it too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from socket import socket

from madang.cluster.application import CAUSES_KEPT, Application, Child, Slot
from madang.cluster.entries import decode_application, encode_application
from madang.cluster.errors import ClusterError
from madang.cluster.handles import Share, handle, opened
from madang.cluster.policy import Instance, State
from madang.cluster.ports import Port
from madang.cluster.processes import Processes
from madang.cluster.settings import ClusterSettings
from madang.cluster.specs import limits

VERSION = 1
"""Of this form, and of what is said between supervisor, templates and children."""


class CannotTakeOver(ClusterError):
    """What another supervisor left cannot be used by this code."""


CHILD_CARRIED = (
    "generation", "accepting", "incarnation", "pid", "status", "tail", "row", "beats",
    "cpu_percent", "rss", "reason",
)  # fmt: skip
CHILD_APART = frozenset({"instance", "channel", "input", "stillness"})
CHILD_ANEW = frozenset({
    "application", "slot", "output", "template", "scores",  # found again
    "cpu_ticks",  # measured again
    "request_id", "their_channel", "pending_signal", "handing_over",  # nothing is under way
})  # fmt: skip
SLOT_CARRIED = ("index", "name", "incarnation", "exits")
SLOT_APART = frozenset({"child", "causes"})
SLOT_ANEW = frozenset({"other"})
APPLICATION_CARRIED = ("newest", "stopping", "wanted", "last_problem", "restarts")
APPLICATION_APART = frozenset({"settings", "ports", "slots", "template", "held", "past"})
APPLICATION_ANEW = frozenset({"limits", "leaving", "shares"})


def is_quiet(application: Application) -> bool:
    """Whether nothing of it is between two states that could not be told."""
    return not application.leaving and all(slot.other is None for slot in application.slots)


def leave_application(application: Application, processes: Processes) -> Share:
    """Return what is left of an application that is quiet."""
    templates = processes.templates.all()
    template = application.template
    children = application.children()
    return {
        **{name: getattr(application, name) for name in APPLICATION_CARRIED},
        "settings": encode_application(application.settings),
        "past": application.past,
        "template": None if template is None else templates.index(template),
        "ports": [port.leave() for port in application.ports],
        "slots": [_leave_slot(slot) for slot in application.slots],
        "held": [
            [absent, children.index(holder), incarnation]
            for absent, (holder, incarnation) in application.held.items()
            if holder in children
        ],
    }


def _leave_slot(slot: Slot) -> Share:
    return {
        **{name: getattr(slot, name) for name in SLOT_CARRIED},
        "causes": list(slot.causes),
        "child": _leave_child(slot.child),
    }


def _leave_child(child: Child) -> Share:
    return {
        **{name: getattr(child, name) for name in CHILD_CARRIED},
        "instance": asdict(child.instance),
        "channel": handle(child.channel),
        "input": handle(child.input),
        "stillness": list(child.stillness),
    }


def take_application(
    share: Share,
    settings: ClusterSettings,
    processes: Processes,
    sockets: Mapping[str, Sequence[socket]],
) -> Application:
    """Return the application that was left, known to `processes`.

    `sockets` are those of the service manager, by the name of their port.
    """
    own = decode_application(share["settings"])
    application = Application(own, limits(own, settings))
    _set(application, APPLICATION_CARRIED, share)
    application.past |= share["past"]  # this code may count more
    if share["template"] is not None:
        application.template = processes.templates.all()[share["template"]]
        application.template.users += 1
    by_name = {port.name: port for port in own.ports}
    application.ports = [
        Port.take_over(by_name[left["name"]], settings.backlog, left, sockets.get(left["name"], ()))
        for left in share["ports"]
    ]
    for left in share["slots"]:
        application.slots.append(_take_slot(left, application, processes))
    children = application.children()
    for absent, index, incarnation in share["held"]:
        application.held[absent] = (children[index], incarnation)
    processes.applications[application.name] = application
    return application


def _take_slot(share: Share, application: Application, processes: Processes) -> Slot:
    slot = Slot(share["index"], share["name"])
    _set(slot, SLOT_CARRIED, share)
    slot.causes = deque(share["causes"], maxlen=CAUSES_KEPT)
    slot.child = _take_child(share["child"], slot, application, processes)
    return slot


def _take_child(share: Share, slot: Slot, application: Application, processes: Processes) -> Child:
    stream = f"{slot.name}/{share['generation']}"
    output = processes.logger.add(stream, slot.name, application.name)
    child = Child(application, slot, share["generation"], output, application.template)
    _set(child, CHILD_CARRIED, share)
    child.instance = Instance(**{**share["instance"], "state": State(share["instance"]["state"])})
    child.stillness = (share["stillness"][0], share["stillness"][1])
    processes.take_child(child, opened(share["channel"]), opened(share["input"]))
    return child


def _set(target: object, names: Sequence[str], share: Share) -> None:
    for name in names:
        setattr(target, name, share[name])
