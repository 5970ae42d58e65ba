"""What a client is told when something does not work: always JSON with `code` and `message`."""

from __future__ import annotations

from typing import Final

from madang.core.errors import MadangError

MALFORMED: Final = 40010001
"""The code of what is wrong in itself, whatever stands in the venue: a shape, a missing field."""
OUTCOME_UNKNOWN: Final = 50310000
"""503, and nobody knows whether it was done: ask before sending it again."""
UNAVAILABLE: Final = 50310001
"""503, and it was certainly not done."""


def default_code(status: int) -> int:
    """Return the general code of a status: 404 -> 40410000; 503 without more is a definite no."""
    return UNAVAILABLE if status == 503 else status * 100_000 + 10_000


class ApiError(MadangError):
    """Answer `status` with a body of `code`, `message` and the facts in `data`."""

    def __init__(self, status: int, message: str, code: int | None = None, **data: object) -> None:
        super().__init__(message, **data)
        self.status = status
        self.code = default_code(status) if code is None else code
        self.headers: tuple[tuple[str, str], ...] = ()

    def with_headers(self, *headers: tuple[str, str]) -> ApiError:
        """Return this error with response headers added."""
        self.headers += headers
        return self
