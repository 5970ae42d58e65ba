"""The bus as the layers above see it: messages to whoever asks for them, requests to one server.

Promises of every adapter: messages of one publisher on one subject arrive in order, or a Gap is
reported before what follows the loss; a process gets one copy and only of what it subscribed to;
`publish` never blocks and never grows without bound; a request ends with exactly one of an
answer, a definite no (NotDelivered), or an unknown outcome (OutcomeUnknown). Handlers are plain
functions, get batches, and run on the event loop of the bus. Nothing is kept for a process that
is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from madang.bus.errors import AlreadyAnswered
from madang.bus.lease import Held

UNKNOWN_LOSS: Final = -1


class Message(NamedTuple):
    """One publication: `peer` is the name of the publishing process."""

    subject: str
    payload: bytes
    peer: str


class Gap(NamedTuple):
    """Messages of `peer` for `subject_pattern` that did not arrive.

    `lost` is their number, or UNKNOWN_LOSS after the peer was lost and came back: then every
    subscription older than the loss is told, whether or not that peer ever published to it.
    """

    peer: str
    subject_pattern: str
    lost: int


class Answer(Protocol):
    """Where the answer of a request goes (the adapter's side)."""

    def respond(self, number: int, payload: bytes) -> None:
        """Carry an answer back."""
        ...

    def refuse(self, number: int, error: str) -> None:
        """Carry a refusal back."""
        ...


class Request:
    """A request that waits for its one answer, given now or later."""

    __slots__ = ("_answer", "_number", "payload", "peer", "subject")

    def __init__(
        self, subject: str, payload: bytes, peer: str, number: int, answer: Answer
    ) -> None:
        self.subject = subject
        self.payload = payload
        self.peer = peer
        self._number = number
        self._answer: Answer | None = answer

    @property
    def answered(self) -> bool:
        """Tell whether `respond` or `refuse` was called."""
        return self._answer is None

    def respond(self, payload: bytes) -> None:
        """Answer with `payload`; raise MessageTooLarge or AlreadyAnswered."""
        self._open().respond(self._number, payload)
        self._answer = None

    def refuse(self, error: str) -> None:
        """Let the requester get RequestRefused(error); raise AlreadyAnswered."""
        self._open().refuse(self._number, error)
        self._answer = None

    def _open(self) -> Answer:
        if self._answer is None:
            raise AlreadyAnswered(f"request on {self.subject} was answered before")
        return self._answer


class Assignment:
    """A job that this process has been given, until it says how it ended."""

    __slots__ = ("_finish", "attempt", "ended", "id", "payload", "subject")

    def __init__(
        self,
        id: str,
        subject: str,
        payload: bytes,
        attempt: int,
        finish: Callable[[str, bytes], None],
    ) -> None:
        self.id = id
        self.subject = subject
        self.payload = payload
        self.attempt = attempt
        self.ended = False
        self._finish = finish

    def done(self, result: bytes = b"") -> None:
        """Say that it is done; raise AlreadyAnswered."""
        self._end("done", result)

    def fail(self, reason: str) -> None:
        """Say that this attempt failed: it is tried again, within the limit of attempts."""
        self._end("failed", reason.encode())

    def reject(self, reason: str) -> None:
        """Say that no attempt can succeed."""
        self._end("rejected", reason.encode())

    def _end(self, ending: str, data: bytes) -> None:
        if self.ended:
            raise AlreadyAnswered(f"job {self.id} has ended before")
        self.ended = True
        self._finish(ending, data)


MessageHandler = Callable[[list[Message]], None]
RequestHandler = Callable[[list[Request]], None]
GapHandler = Callable[[Gap], None]
WorkHandler = Callable[[Assignment], None]
PeerHandler = Callable[[str, bool], None]


class Subscription(Protocol):
    """A handler's registration."""

    def close(self) -> None:
        """End it: the handler is not called again. A second call does nothing."""
        ...


class Submission(Protocol):
    """A job that was accepted."""

    @property
    def id(self) -> str:
        """Return the job's id, the same in every attempt."""
        ...

    async def result(self, timeout_ms: int) -> bytes:
        """Wait for its result.

        Raises JobFailed, RequestTimeout (it may still be done), BusClosed.
        """
        ...


class Bus(Protocol):
    """One process's place on the bus."""

    @property
    def name(self) -> str:
        """Return the name by which peers know this process."""
        ...

    def publish(self, subject: str, payload: bytes) -> None:
        """Send to every matching subscription, our own included; raise MessageTooLarge.

        Over a peer's byte bound the message is dropped for that peer and its subscription gets a
        Gap.
        """
        ...

    def interested(self, subject: str) -> bool:
        """Tell whether a known subscription, ours included, matches `subject`."""
        ...

    def subscribe(
        self, pattern: str, handler: MessageHandler, on_gap: GapHandler | None = None
    ) -> Subscription:
        """Call `handler` with batches of what matches: `*` is one token, a last `>` is the rest."""
        ...

    async def request(self, subject: str, payload: bytes, timeout_ms: int) -> bytes:
        """Ask one server of `subject`.

        Raises NoServer, Overloaded (never delivered); PeerLost, RequestTimeout (outcome unknown);
        RequestRefused; MessageTooLarge.
        """
        ...

    def serve(self, subject: str, handler: RequestHandler) -> Subscription:
        """Be a server of `subject` (no wildcards); at most one handler per process and subject."""
        ...

    async def wait_for_server(self, subject: str, timeout_ms: int) -> bool:
        """Wait until somebody serves `subject`; False when the time is over."""
        ...

    def work(self, subject: str, handler: WorkHandler, slots: int) -> Subscription:
        """Take up to `slots` jobs of a subject at once; one worker per process and subject."""
        ...

    async def submit(self, subject: str, payload: bytes) -> Submission:
        """Have a job done by one free worker; returns when it is accepted.

        An accepted job is delivered until it has an outcome while this process or the owner of the
        queue lives: at least once, and again where its worker dies. Raises Overloaded, NoServer (it
        was not accepted); OutcomeUnknown; MessageTooLarge.
        """
        ...

    def acquire(self, name: str) -> Held:
        """Take a lease of this bus at once; raise LeaseTaken."""
        ...

    def peers(self) -> frozenset[str]:
        """Return the names of the processes with an established link."""
        ...

    def on_peer(self, handler: PeerHandler) -> None:
        """Call `handler(name, connected)` at each link established or lost."""
        ...

    def statistics(self) -> Mapping[str, int]:
        """Return counters and gauges by name."""
        ...

    async def close(self) -> None:
        """Send what is queued (within a limit of time), then leave."""
        ...
