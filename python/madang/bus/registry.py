"""Who wants what: our own handlers, and what each peer announced.

Pure state of one owner (the node); nothing here calls a handler or writes to a link.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from madang.bus.errors import BusError
from madang.bus.port import GapHandler, MessageHandler, RequestHandler
from madang.bus.subjects import SubjectTable, check_subject

Peer = TypeVar("Peer", bound=Hashable)


class Registration:
    """A subscription or a served subject of this process."""

    __slots__ = ("_end", "closed", "number", "subject")

    def __init__(self, subject: str, number: int, end: Callable[[Registration], None]) -> None:
        self.subject = subject
        self.number = number
        self.closed = False
        self._end = end

    def close(self) -> None:
        """End it; a second call does nothing."""
        if not self.closed:
            self.closed = True
            self._end(self)


class Listener(Registration):
    """A subscription: `number` grows with each, so it tells what is older than a loss."""

    __slots__ = ("handler", "on_gap")

    handler: MessageHandler
    on_gap: GapHandler | None


class Service(Registration):
    """A served subject."""

    __slots__ = ("handler",)

    handler: RequestHandler


class LocalRegistry:
    """Our subscriptions and services. Peers hear of a pattern once however many handlers."""

    def __init__(self) -> None:
        self._table: SubjectTable[Listener] = SubjectTable()
        self._by_pattern: dict[str, dict[Listener, None]] = {}
        self._services: dict[str, Service] = {}
        self._next = 0
        self.match = self._table.match

    @property
    def size(self) -> int:
        """Return how many patterns and subjects peers are told of."""
        return len(self._by_pattern) + len(self._services)

    @property
    def mark(self) -> int:
        """Return a number above that of every subscription made so far."""
        return self._next

    def listen(
        self,
        pattern: str,
        handler: MessageHandler,
        on_gap: GapHandler | None,
        end: Callable[[Registration], None],
    ) -> tuple[Listener, bool]:
        """Add a subscription; also tell whether it is the first of its pattern."""
        listener = Listener(pattern, self._next, end)
        listener.handler, listener.on_gap = handler, on_gap
        self._table.add(pattern, listener)
        self._next += 1
        of_pattern = self._by_pattern.setdefault(pattern, {})
        of_pattern[listener] = None
        return listener, len(of_pattern) == 1

    def unlisten(self, listener: Registration) -> bool:
        """Remove a subscription; tell whether it was the last of its pattern."""
        assert isinstance(listener, Listener)
        self._table.discard(listener.subject, listener)
        of_pattern = self._by_pattern[listener.subject]
        del of_pattern[listener]
        if of_pattern:
            return False
        del self._by_pattern[listener.subject]
        return True

    def of_pattern(self, pattern: str) -> list[Listener]:
        """Return the subscriptions of exactly this pattern."""
        return list(self._by_pattern.get(pattern, ()))

    def older_than(self, mark: int) -> list[Listener]:
        """Return the subscriptions made before `mark` was taken."""
        return [
            listener
            for listeners in self._by_pattern.values()
            for listener in listeners
            if listener.number < mark
        ]

    def matching_patterns(self, subject: str) -> list[str]:
        """Return our patterns that match, each once."""
        return list({listener.subject: None for listener in self.match(subject)})

    def add_service(
        self, subject: str, handler: RequestHandler, end: Callable[[Registration], None]
    ) -> Service:
        """Add the handler of a served subject; raise BusError where there is one."""
        check_subject(subject)
        if subject in self._services:
            raise BusError(f"{subject} is served here already", subject=subject)
        service = Service(subject, 0, end)
        service.handler = handler
        self._services[subject] = service
        return service

    def remove_service(self, service: Registration) -> None:
        """Remove a served subject."""
        del self._services[service.subject]

    def service(self, subject: str) -> Service | None:
        """Return the service of a subject."""
        return self._services.get(subject)

    def patterns(self) -> Iterator[str]:
        """Yield each subscribed pattern once."""
        return iter(self._by_pattern)

    def served(self) -> Iterator[str]:
        """Yield the served subjects."""
        return iter(self._services)


class PeerRegistry(Generic[Peer]):
    """What the peers want and serve."""

    def __init__(self) -> None:
        self._table: SubjectTable[Peer] = SubjectTable()
        self._patterns: dict[Peer, dict[str, None]] = {}
        self._served: dict[Peer, dict[str, None]] = {}
        self._servers: dict[str, dict[Peer, None]] = {}
        self.match = self._table.match
        self.patterns = self._table.patterns

    def subscribe(self, peer: Peer, pattern: str) -> bool:
        """Add an interest; False if it was there. Raise InvalidSubject."""
        if not self._table.add(pattern, peer):
            return False
        self._patterns.setdefault(peer, {})[pattern] = None
        return True

    def unsubscribe(self, peer: Peer, pattern: str) -> bool:
        """Remove an interest; False if it was not there."""
        if not self._table.discard(pattern, peer):
            return False
        del self._patterns[peer][pattern]
        return True

    def serve(self, peer: Peer, subject: str) -> bool:
        """Add a server; False if it was there. Raise InvalidSubject."""
        check_subject(subject)
        servers = self._servers.setdefault(subject, {})
        if peer in servers:
            return False
        servers[peer] = None
        self._served.setdefault(peer, {})[subject] = None
        return True

    def withdraw(self, peer: Peer, subject: str) -> bool:
        """Remove a server; False if it was not there."""
        servers = self._servers.get(subject, {})
        if peer not in servers:
            return False
        del servers[peer]
        del self._served[peer][subject]
        if not servers:
            del self._servers[subject]
        return True

    def servers(self, subject: str) -> list[Peer]:
        """Return the peers that serve a subject, first come first."""
        return list(self._servers.get(subject, ()))

    def drop(self, peer: Peer) -> None:
        """Forget a peer."""
        for pattern in self._patterns.pop(peer, {}):
            self._table.discard(pattern, peer)
        for subject in list(self._served.pop(peer, {})):
            servers = self._servers[subject]
            del servers[peer]
            if not servers:
                del self._servers[subject]
