"""The error tree: few classes, each with data.

MadangError
├── SettingsError   a setting is missing, unknown or wrong: names file, key and what was expected
└── one branch per layer, beside what raises it: BusError, ClusterError, LogError, ApiError …

Operating errors are raised; a domain "no" (an order refused) is a value; a broken invariant is an
assertion.
"""

from __future__ import annotations


class MadangError(Exception):
    """An operating error: `message` says what, where and what to do; `data` holds the facts."""

    def __init__(self, message: str, **data: object) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class SettingsError(MadangError):
    """A setting that cannot be used."""

    def __init__(self, source: str, key: str, expected: str) -> None:
        super().__init__(f"{source}: {key}: {expected}", source=source, key=key, expected=expected)
