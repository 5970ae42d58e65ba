"""Templates: helpers among the supervisor's children that import an application and fork it.

Where forking is unsafe children are started by exec. A template is a small state around a channel;
nothing here waits. Applications with the same imports share one until either is reloaded.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from madang.cluster import channel
from madang.cluster.execute import execute, inherited_environment
from madang.cluster.handles import Share, given_socket, handle
from madang.cluster.settings import ASGI_MAIN, ApplicationSettings, Kind

TEMPLATE_FAILURES_MAX = 3
SPEC_VARIABLE = "MADANG_CHILD"


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """A child that is wanted: `descriptors` stay open until it is known to exist."""

    id: int
    spec: dict[str, object]
    descriptors: tuple[int, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Spawned:
    """The answer to a request: `pid`, or None with the reason."""

    id: int
    pid: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a template is made of; those with equal recipes are one.

    `stamp` tells apart what was imported at different times: a reload has a new one.
    """

    modules: tuple[str, ...]
    directory: str
    environment: tuple[tuple[str, str], ...]
    stamp: int = 0
    inherits_environment: bool = True


def recipe(application: ApplicationSettings, stamp: int) -> Recipe:
    """Return what the template of `application` has to import, and where."""
    modules = application.preload
    if application.kind is Kind.ASGI:
        module = application.target.rpartition(":")[0]
        folder, _, file = module.rpartition("/")
        modules = (*modules, ASGI_MAIN.partition(":")[0])
        if not folder:
            modules = (*modules, file.removesuffix(".py"))
    environment = tuple(sorted(application.environment.items()))
    inherits = application.inherits_environment
    return Recipe(modules, application.directory, environment, stamp, inherits)


class Template:
    """One template process, replaced when it dies.

    Requests wait until it is ready; a request that was not answered when it died was not carried
    out, and goes to the next one. After TEMPLATE_FAILURES_MAX deaths before readiness, or when it
    says that forking is not safe, children are started by exec.
    """

    def __init__(self, made_of: Recipe, output: int) -> None:
        self.recipe = made_of
        self.users = 0
        self._output = output
        self._failures = 0
        self._requests: dict[int, SpawnRequest] = {}
        self._ready = False
        self.unsafe = ""
        self.pid: int | None = None
        self.channel: socket.socket | None = None

    def leave(self) -> Share:
        """Return what a successor needs to go on with the process; no request may be waiting."""
        return {
            "recipe": asdict(self.recipe),
            "failures": self._failures,
            "ready": self._ready,
            "unsafe": self.unsafe,
            "pid": self.pid,
            "channel": handle(self.channel),
        }

    def go_on(self, share: Share) -> None:
        """Go on with the process that was left."""
        self._failures, self._ready = share["failures"], share["ready"]
        self.unsafe, self.pid = share["unsafe"], share["pid"]
        if share["channel"] is not None:
            self.channel = given_socket(share["channel"])

    def start(self) -> None:
        """Start the process."""
        self._ready = False
        self.channel, theirs = channel.pair()
        self.channel.setblocking(False)
        told = json.dumps({"modules": self.recipe.modules, "directory": self.recipe.directory})
        inherited = inherited_environment(whole=self.recipe.inherits_environment)
        environment = {**inherited, **dict(self.recipe.environment)}
        arguments = ["-m", "madang.cluster.template", told]
        self.pid = execute(arguments, environment, [theirs.fileno()], self._output)
        theirs.close()

    def spawn(self, request: SpawnRequest) -> list[Spawned]:
        """Ask for a child; return the answer when it is known at once."""
        if self.unsafe:
            return [self._execute(request)]
        self._requests[request.id] = request
        if self._ready:
            self._send(request)
        return []

    @property
    def is_asked(self) -> bool:
        """Tell whether a child is still to come."""
        return bool(self._requests)

    def withdraw(self, request_id: int) -> bool:
        """Take a request back; False when it is already on its way."""
        if self._ready or request_id not in self._requests:
            return False
        del self._requests[request_id]
        return True

    def read(self) -> list[Spawned]:
        """Return the answers that arrived; a dead process is replaced."""
        answers: list[Spawned] = []
        while self.channel is not None:
            try:
                message, _ = channel.receive(self.channel)
            except BlockingIOError:
                break
            except channel.ChannelClosed:
                answers += self._died()
                break
            answers += self._take(message)
        return answers

    def _take(self, message: Mapping[str, object]) -> list[Spawned]:
        match message["kind"]:
            case "ready":
                self._ready = True
                self._failures = 0
                for request in list(self._requests.values()):
                    self._send(request)
                return []
            case "unsafe":
                return self._give_up(str(message["reason"]))
        request_id = int(str(message["id"]))
        self._requests.pop(request_id, None)
        if message["kind"] == "failed":
            return [Spawned(request_id, None, str(message["reason"]))]
        return [Spawned(request_id, int(str(message["pid"])))]

    def _send(self, request: SpawnRequest) -> None:
        assert self.channel is not None
        message = {"id": request.id, "spec": request.spec}
        try:
            channel.send(self.channel, message, request.descriptors)
        except channel.ChannelClosed:
            return  # its end-of-file follows, and the next template gets the request
        except OSError:
            del self._requests[request.id]  # refused: whoever asked is told, and asks again
            raise

    def _died(self) -> list[Spawned]:
        self.close()
        if not self._ready:
            self._failures += 1
        if self._failures >= TEMPLATE_FAILURES_MAX:
            return self._give_up(f"died {self._failures} times before it was ready")
        try:
            self.start()
        except OSError as error:
            return self._give_up(f"cannot start a template: {error.strerror}")
        return []

    def _give_up(self, reason: str) -> list[Spawned]:
        self.unsafe = reason
        self.close()
        waiting, self._requests = list(self._requests.values()), {}
        return [self._execute(request) for request in waiting]

    def _execute(self, request: SpawnRequest) -> Spawned:
        """Start a child by exec."""
        spec = {SPEC_VARIABLE: json.dumps(request.spec)}
        inherited = inherited_environment(whole=self.recipe.inherits_environment)
        environment = {**inherited, **request.environment, **spec}
        arguments = ["-m", "madang.cluster.child"]
        try:
            pid = execute(arguments, environment, request.descriptors, request.descriptors[0])
        except OSError as error:
            return Spawned(request.id, None, str(error))
        return Spawned(request.id, pid)

    def close(self) -> None:
        """Close the channel: the process ends."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None


class Templates:
    """All templates that somebody uses; `on_start(template)` is called for each new one."""

    def __init__(self, output: int, on_start: Callable[[Template], None]) -> None:
        self._output = output
        self._on_start = on_start
        self._found: dict[Recipe, Template] = {}

    def acquire(self, made_of: Recipe) -> Template:
        """Return the template of a recipe, started if there is none; `release` it once."""
        template = self._found.get(made_of)
        if template is None:
            template = self._found[made_of] = Template(made_of, self._output)
            template.start()
            self._on_start(template)
        template.users += 1
        return template

    def take_over(self, share: Share) -> None:
        """Have a template that another of us left; `release` it as often as it is used."""
        words = dict(share["recipe"])
        made_of = Recipe(
            tuple(words["modules"]),
            words["directory"],
            tuple((name, value) for name, value in words["environment"]),
            words["stamp"],
            words.get("inherits_environment", True),
        )
        template = self._found[made_of] = Template(made_of, self._output)
        template.go_on(share)

    def release(self, template: Template) -> None:
        """Leave a template; the caller closes one that has no users any more."""
        template.users -= 1
        if template.users == 0:
            del self._found[template.recipe]

    def all(self) -> list[Template]:
        """Return every template in use."""
        return list(self._found.values())
