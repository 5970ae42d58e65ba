"""Signing in, with limits on attempts by address and by name.

Invariant: a wrong name costs as much as a wrong password, and neither is told from the other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from madang.core.clock import Clock
from madang.edge import ApiError
from madang.exchange.api.authenticator import unauthorized
from madang.exchange.api.hashing import Hashing
from madang.exchange.directory import DirectoryReplica
from madang.exchange.registration import neighbourhood
from madang.wire.records import Credential

SECOND_NS: Final = 1_000_000_000


class LoginSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of signing in, per worker."""

    attempts_max: int = 10
    window_s: int = 60
    subjects_max: int = 10_000
    waiting_max: int = 32


class AttemptLimiter:
    """Counts failed attempts of each subject in fixed windows. Pure: time is an argument."""

    def __init__(self, settings: LoginSettings) -> None:
        self._settings = settings
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def wait_s(self, subject: str, now_ns: int) -> int:
        """Return how long the subject must wait, 0 where it may try."""
        count, until_ns = self._counts.get(subject, (0, 0))
        if now_ns >= until_ns or count < self._settings.attempts_max:
            return 0
        return -(-(until_ns - now_ns) // SECOND_NS)

    def failed(self, subject: str, now_ns: int) -> None:
        """Count a failed attempt; over the limit of subjects the oldest is forgotten."""
        count, until_ns = self._counts.pop(subject, (0, 0))
        if now_ns >= until_ns:
            count, until_ns = 0, now_ns + self._settings.window_s * SECOND_NS
        self._counts[subject] = (count + 1, until_ns)
        while len(self._counts) > self._settings.subjects_max:
            self._counts.popitem(last=False)

    def succeeded(self, subject: str) -> None:
        """Forget the failures of a subject."""
        self._counts.pop(subject, None)


class Login:
    """Verifies names and passwords."""

    def __init__(
        self, replica: DirectoryReplica, settings: LoginSettings, clock: Clock, hashing: Hashing
    ) -> None:
        self._replica = replica
        self._clock = clock
        self._limiter = AttemptLimiter(settings)
        self._hashing = hashing

    async def verify(self, name: str, password: str, address: str) -> Credential:
        """Return the password credential of who signed in; raises ApiError 401, 429 or 503."""
        subjects = (f"address {neighbourhood(address)}", f"name {name}")
        check_attempts(self._limiter, subjects, self._clock.monotonic_ns())
        found = self._replica.directory.password(name)
        matches = await self._hashing.matches(None if found is None else found.value, password)
        current = self._replica.directory.password(name)
        if not matches or current is None or current != found or not self._is_active(current):
            for subject in subjects:
                self._limiter.failed(subject, self._clock.monotonic_ns())
            raise unauthorized()
        # The address stays counted: else whoever has one account could guess at all others.
        self._limiter.succeeded(f"name {name}")
        return current

    def _is_active(self, credential: Credential) -> bool:
        account = self._replica.directory.accounts.get(credential.account)
        return account is not None and account.active


def check_attempts(limiter: AttemptLimiter, subjects: Iterable[str], now_ns: int) -> None:
    """Raise ApiError 429 where one of the subjects must wait."""
    wait_s = max(limiter.wait_s(subject, now_ns) for subject in subjects)
    if wait_s:
        error = ApiError(429, "too many attempts, try again later")
        raise error.with_headers(("retry-after", str(wait_s)))
