"""The worker's side of the venue: commands of one tick travel together, and no outcome is guessed.

`Attempts` is the policy, pure: what may be concluded after each try. A command is resent only with
its own request_id, so it is never done twice. Invariant: VenueUnavailable is a definite no (nothing
was or will be done); once a try may have been handled, the end is an outcome or OutcomeUnknown,
never a "no".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from madang.bus import Bus, BusError, NotDelivered, RequestRefused
from madang.bus import OutcomeUnknown as DeliveryUnknown
from madang.core.clock import Clock, SystemClock
from madang.core.errors import MadangError
from madang.wire.events import Result, parse_result, split_records

SUBJECT = "venue.commands"


class GatewayError(MadangError):
    """Root of what `OrderGateway.submit` raises."""


class VenueUnavailable(GatewayError):
    """A definite no: the command is not, and will not be, in the log. Answer 503."""


class OutcomeUnknown(GatewayError):
    """The command may have been done. Answer 503: "outcome unknown, ask by client_order_id"."""


class GatewaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long to try, and how much may be under way."""

    resend_ms: int = 5_000
    request_timeout_ms: int = 2_500
    retry_pause_ms: int = 20
    request_commands_max: int = 512
    waiting_max: int = 20_000
    requests_max: int = 2
    """Requests under way at a time: what comes meanwhile goes together in the next."""


class Try(Enum):
    """How one try ended."""

    NOT_DELIVERED = auto()
    REFUSED = auto()
    UNKNOWN = auto()


class Next(Enum):
    """What follows from it."""

    SAY_NO = auto()
    RESEND = auto()
    SAY_UNKNOWN = auto()


class Attempts:
    """The tries of one set of commands, from `started_ns` on; pure."""

    __slots__ = ("_end_ns", "_may_have_left", "_timeout_ns")

    def __init__(self, settings: GatewaySettings, started_ns: int) -> None:
        self._end_ns = started_ns + settings.resend_ms * 1_000_000
        self._timeout_ns = settings.request_timeout_ms * 1_000_000
        self._may_have_left = False

    def timeout_ms(self, now_ns: int) -> int:
        """Return how long the next try may take, at least 1."""
        return max(1, min(self._timeout_ns, self._end_ns - now_ns) // 1_000_000)

    def ended(self, how: Try, now_ns: int) -> Next:
        """Conclude from a try that brought no answer."""
        if how is Try.UNKNOWN:
            self._may_have_left = True
        elif not self._may_have_left:
            return Next.SAY_NO
        return Next.RESEND if now_ns < self._end_ns else Next.SAY_UNKNOWN


Outcome = Result | GatewayError
"""What became of a command: its result, or why there is none (see `OrderGateway.submit`)."""


class _Waiting(NamedTuple):
    command: bytes
    tell: Callable[[Outcome], None]


class OrderGateway:
    """One per worker. `submit` is the only way of a command to the venue."""

    def __init__(
        self, bus: Bus, settings: GatewaySettings | None = None, clock: Clock | None = None
    ) -> None:
        self._bus = bus
        self._settings = settings or GatewaySettings()
        self._clock: Clock = clock or SystemClock()
        self._gathered: deque[_Waiting] = deque()
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def under_way(self) -> int:
        """Return how many commands wait for their outcome."""
        return self._under_way

    async def submit(self, command: bytes) -> Result:
        """Send one command record and return its outcome; raises VenueUnavailable, OutcomeUnknown.

        Cancelling the wait does not take the command back.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.send(command, lambda outcome: _settle(future, outcome))
        return await future

    def send(self, command: bytes, tell: Callable[[Outcome], None]) -> None:
        """Send one command record; `tell` is called once with its outcome and must not raise.

        Raises VenueUnavailable where it is not sent; `tell` is not called then.
        """
        if self._closed:
            raise VenueUnavailable("this worker is stopping")
        if self._under_way >= self._settings.waiting_max:
            raise VenueUnavailable(f"{self._settings.waiting_max} commands are under way")
        if not self._gathered and len(self._tasks) < self._settings.requests_max:
            asyncio.get_running_loop().call_soon(self._flush)
        self._gathered.append(_Waiting(command, tell))
        self._under_way += 1

    def _flush(self) -> None:
        """Send what has been gathered, as far as requests may be under way."""
        most = self._settings.request_commands_max
        while self._gathered and len(self._tasks) < self._settings.requests_max:
            some = [self._gathered.popleft() for _ in range(min(most, len(self._gathered)))]
            task = asyncio.get_running_loop().create_task(self._carry(some))
            self._tasks.add(task)
            task.add_done_callback(self._on_carried)

    def _on_carried(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._flush()

    async def _carry(self, some: list[_Waiting]) -> None:
        outcomes: list[Outcome] = []
        failure: GatewayError = OutcomeUnknown("the venue's answer could not be read")
        try:
            answer = await self._ask(b"".join([waiting.command for waiting in some]))
            outcomes += [parse_result(answer, offset) for _, offset, _ in split_records(answer)]
            assert len(outcomes) == len(some), "the venue answers each command once"
        except GatewayError as error:
            failure = error
        except asyncio.CancelledError:
            failure = OutcomeUnknown("this worker stopped before the venue answered")
            raise
        finally:
            self._under_way -= len(some)
            if len(outcomes) != len(some):
                outcomes = [failure] * len(some)
            for waiting, outcome in zip(some, outcomes, strict=True):
                waiting.tell(outcome)

    async def _ask(self, payload: bytes) -> bytes:
        attempts = Attempts(self._settings, self._clock.monotonic_ns())
        while True:
            timeout_ms = attempts.timeout_ms(self._clock.monotonic_ns())
            how: Try
            cause: BusError
            try:
                return await self._bus.request(SUBJECT, payload, timeout_ms)
            except NotDelivered as error:
                how, cause = Try.NOT_DELIVERED, error
            except RequestRefused as error:
                how, cause = Try.REFUSED, error
            except DeliveryUnknown as error:
                how, cause = Try.UNKNOWN, error
            follows = attempts.ended(how, self._clock.monotonic_ns())
            if follows is Next.SAY_NO:
                raise VenueUnavailable(f"the venue does not take commands: {cause.message}")
            if follows is Next.SAY_UNKNOWN:
                raise OutcomeUnknown(
                    "outcome unknown, ask by client_order_id", cause=type(cause).__name__
                )
            await self._pause(attempts)

    async def _pause(self, attempts: Attempts) -> None:
        timeout_ms = attempts.timeout_ms(self._clock.monotonic_ns())
        try:
            await self._bus.wait_for_server(SUBJECT, timeout_ms)
        except BusError as error:
            raise OutcomeUnknown("the bus is closed", cause=error.message) from error
        await asyncio.sleep(self._settings.retry_pause_ms / 1000)

    async def close(self) -> None:
        """Take no more; wait for what is under way (at most `resend_ms` and one try)."""
        self._closed = True
        while self._gathered or self._tasks:
            if self._tasks:
                await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)


def _settle(future: asyncio.Future[Result], outcome: Outcome) -> None:
    """Give an outcome to who waits for it, if somebody still does."""
    if future.done():
        return
    if isinstance(outcome, GatewayError):
        future.set_exception(type(outcome)(outcome.message, **outcome.data))
    else:
        future.set_result(outcome)
