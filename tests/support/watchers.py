"""Clients that look on in threads of their own while a test kills things, and tell what was wrong.

`Watcher.turn` is done over and over; `steps` counts what the test waits for (a connection, a
check). A connection that ends ends a turn and no more; a fault ends the thread, and `close` raises
it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from websockets.exceptions import ConnectionClosed, InvalidMessage

from tests.support.running import wait_for

LIMIT_S = 20.0
RECONNECT_S = 0.02


class Watcher:
    """One client; subclasses say what a turn is, and what ends a turn without being a fault."""

    expected: tuple[type[Exception], ...] = (OSError, ConnectionClosed, InvalidMessage)
    """The last is what a worker's death in the middle of an opening handshake comes to."""

    def __init__(self) -> None:
        self.steps = 0
        self.faults: list[BaseException] = []
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; raises what went wrong."""
        self.over.set()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()
        if self.faults:
            raise self.faults[0]

    def turn(self) -> None:
        """Do what this client does, once."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self.over.is_set():
            try:
                self.turn()
            except self.expected:
                time.sleep(RECONNECT_S)
            except BaseException as fault:  # noqa: BLE001 - told by close()
                self.faults.append(fault)
                return


class Progress:
    """Waits until each of some watchers has come further than it was when this was made."""

    def __init__(self, watchers: Iterable[Watcher], steps: int = 1) -> None:
        self._wanted = {watcher: watcher.steps + steps for watcher in watchers}

    def wait(self) -> None:
        """Return when all have, or one has failed; it says so when it is closed."""
        wait_for(self._made, LIMIT_S, "clients that come further")

    def _made(self) -> bool:
        return all(one.faults or one.steps >= wanted for one, wanted in self._wanted.items())
