"""Descriptors in plain data: `{"descriptor": 7}`, so that all of them are found in the whole."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

DESCRIPTOR = "descriptor"

Share = Mapping[str, Any]
"""What one part of a supervisor leaves to its successor."""


class HasDescriptor(Protocol):
    """A socket or anything else with a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


def handle(found: HasDescriptor | int | None) -> dict[str, int] | None:
    """Return the written form of a descriptor."""
    if found is None:
        return None
    return {DESCRIPTOR: found if isinstance(found, int) else found.fileno()}


def opened(written: object) -> int | None:
    """Return the descriptor that `handle` has written."""
    return None if written is None else int(cast("Share", written)[DESCRIPTOR])


def given(written: object) -> int:
    """Return the descriptor that `handle` has written, where there must be one."""
    return int(cast("Share", written)[DESCRIPTOR])


def given_socket(written: object) -> socket.socket:
    """Return the socket whose descriptor `handle` has written; it never blocks."""
    found = socket.socket(fileno=given(written))
    found.setblocking(False)
    return found


def descriptors(share: object) -> Iterator[int]:
    """Yield every descriptor in `share`."""
    if isinstance(share, Mapping):
        if set(share) == {DESCRIPTOR}:
            yield int(share[DESCRIPTOR])
            return
        share = list(share.values())
    if isinstance(share, Sequence) and not isinstance(share, str):
        for part in share:
            yield from descriptors(part)
