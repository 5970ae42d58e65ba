"""Who is connected to an application's hub, and how that is written down to move. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass(slots=True)
class Client:
    """Who is connected. `user` is what `authorize` returned, `data` the application's own.

    Where both are plain data (what JSON can say) the client moves to the next process at a reload.
    """

    id: str
    peer: str
    user: Any = None
    data: dict[str, Any] = field(default_factory=dict)
    channels: set[str] = field(default_factory=set)


class FrozenClient(msgspec.Struct, array_like=True, frozen=True):
    """A client as it travels.

    `events`: its event channels, with the position it has everything up to; `states` likewise, with
    the keys whose newest it was not sent; `heard`: numbers of the last direct messages it got.
    """

    id: str
    user: Any
    data: dict[str, Any]
    events: dict[str, tuple[int, int]]
    states: dict[str, tuple[int, int, list[str]]]
    heard: list[str]


def is_plain(client: Client) -> bool:
    """Tell whether user and data arrive as they were sent."""
    kept = (client.user, client.data)
    if kept == (None, {}):
        return True
    try:
        return _same(msgspec.msgpack.decode(msgspec.msgpack.encode(kept)), list(kept))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False


def _same(one: object, other: object) -> bool:
    """Tell whether two values are equal and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            type(key) is type(same) and _same(one[key], other[same])
            for key, same in zip(one, other, strict=True)
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other
