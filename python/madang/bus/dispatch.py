"""Calls our handlers with batches, and never lets one handler's failure reach another or a link.

A handler's exception goes to the event loop's exception handler (which logs it, or ends the
process, as the process has chosen); requests that a failed handler left open are refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from madang.bus.port import Gap, Message, Request
from madang.bus.registry import Listener, LocalRegistry

Argument = TypeVar("Argument")


class Dispatcher:
    """Brings what has come to the handlers of this process."""

    def __init__(self, local: LocalRegistry, loop: asyncio.AbstractEventLoop) -> None:
        self._local = local
        self._loop = loop
        self.delivered = 0
        self.gaps = 0
        self.failures = 0

    def messages(self, messages: list[Message]) -> None:
        """Give each matching subscription its messages, in order, as one list."""
        match = self._local.match
        batches: dict[Listener, list[Message]] = {}
        for message in messages:
            for listener in match(message[0]):
                batch = batches.get(listener)
                if batch is None:
                    batches[listener] = [message]
                else:
                    batch.append(message)
        for listener, batch in batches.items():
            if not listener.closed:
                self.delivered += len(batch)
                self.guard(listener.handler, batch)

    def requests(self, requests: list[Request]) -> None:
        """Give each service its requests as one list; refuse what it leaves open by failing."""
        batches: dict[str, list[Request]] = {}
        for request in requests:
            batches.setdefault(request.subject, []).append(request)
        for subject, batch in batches.items():
            service = self._local.service(subject)
            done = service is not None and self.guard(service.handler, batch)
            if not done:
                for request in batch:
                    if not request.answered:
                        request.refuse("handler failed" if service else "service withdrawn")

    def gap(self, listeners: Iterable[Listener], peer: str, lost: int) -> None:
        """Tell subscriptions that messages of `peer` are missing."""
        for listener in listeners:
            self.gaps += 1
            if listener.on_gap is not None and not listener.closed:
                self.guard(listener.on_gap, Gap(peer, listener.subject, lost))

    def guard(self, handler: Callable[[Argument], None], argument: Argument) -> bool:
        """Call `handler`; False if it failed."""
        try:
            handler(argument)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported below
            self.failures += 1
            self._loop.call_exception_handler(
                {"message": f"bus handler {handler!r} failed", "exception": error}
            )
            return False
        return True
