"""The output of the processes for the page: the last lines, then what comes, by name and by text.

Reads the logger's files in a thread. One follower serves every session; a line is found once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from madang.cluster.logs import Follower, LogLine, LogQuery, recent

LOOK_S: Final = 0.4
LINES_MAX: Final = 200
"""In one message; of more the newest are told, and how many were left out."""
SEARCHED_MAX: Final = 2_000
"""Of each application, for the first lines that fit a filter."""
LINE_CHARACTERS_MAX: Final = 2_000
NAMES_MAX: Final = 64
TEXT_CHARACTERS_MAX: Final = 200

Send = Callable[[dict[str, Any]], None]


class LogWish(msgspec.Struct, frozen=True):
    """What a session wants: of these applications or instances (none: of all), with this text."""

    names: tuple[str, ...] = ()
    text: str = ""

    def wants(self, line: LogLine) -> bool:
        """Tell whether the line is one of those."""
        return self._names(line) and self.text.casefold() in line.text.casefold()

    def _names(self, line: LogLine) -> bool:
        if not self.names:
            return True
        application = re.sub(r"-\d+$", "", line.instance)
        return line.instance in self.names or application in self.names


class Output:
    """Sends lines to whoever wants them, for as long as somebody does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._wishes: dict[Send, LogWish] = {}
        self._new: dict[Send, LogWish] = {}
        self._task: asyncio.Task[None] | None = None

    def want(self, send: Send, wish: LogWish) -> None:
        """Begin anew with the last lines that fit."""
        self._wishes.pop(send, None)
        self._new[send] = wish
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._follow())

    def leave(self, send: Send) -> None:
        """Send no more."""
        self._wishes.pop(send, None)
        self._new.pop(send, None)

    def close(self) -> None:
        """Follow no more."""
        self._wishes.clear()
        self._new.clear()
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        follower = Follower(self._folder, LogQuery())
        await asyncio.to_thread(_begin, follower)
        while self._wishes or self._new:
            fresh = dict(self._new)
            begun = {
                send: await asyncio.to_thread(self._recent, wish) for send, wish in fresh.items()
            }
            lines = await asyncio.to_thread(_look, follower)
            for send, wish in list(self._wishes.items()):
                _tell(send, (line for line in lines if wish.wants(line)), whole=False)
            for send, first in begun.items():
                if self._new.get(send) is not fresh[send]:
                    continue  # left, or wants something else meanwhile
                del self._new[send]
                known = set(first)
                later = [line for line in lines if fresh[send].wants(line) and line not in known]
                self._wishes[send] = fresh[send]
                _tell(send, [*first, *later], whole=True)
            await asyncio.sleep(LOOK_S)
        self._task = None

    def _recent(self, wish: LogWish) -> list[LogLine]:
        try:
            found = recent(self._folder, LogQuery(lines=SEARCHED_MAX))
        except OSError:  # rotated at this moment, or not to be read
            return []
        return [line for line in found if wish.wants(line)]


def _look(follower: Follower) -> list[LogLine]:
    try:
        return follower.look()
    except OSError:  # rotated at this moment: the next look finds it
        return []


def _tell(send: Send, lines: Iterable[LogLine], *, whole: bool) -> None:
    found = list(lines)
    if not found and not whole:
        return
    shown = found[-LINES_MAX:]
    send(
        {
            "type": "logs",
            "whole": whole,
            "left_out": 0 if whole else len(found) - len(shown),
            "lines": [
                {"at": at, "instance": instance, "text": text[:LINE_CHARACTERS_MAX]}
                for at, instance, text in shown
            ],
        }
    )


def _begin(follower: Follower) -> None:
    with suppress(OSError):
        follower.begin()
