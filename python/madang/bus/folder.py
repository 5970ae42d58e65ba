"""The folder where the processes of a machine find each other: one socket file per name.

Invariant: a file is put in place (rename of a listening socket) and taken away (only after a
connect was refused, or by its owner) under one lock, so that a file seen under the lock belongs
to a listening process or to nobody. The lock is held for a few system calls, never across a wait.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from madang.bus.errors import BusError

SUFFIX: Final = ".sock"
BACKLOG: Final = 1024
PATH_BYTES_MAX: Final = 107  # sun_path less its zero


class FolderBusy(BusError):
    """Another process holds the folder's lock at this moment."""


class SocketFolder:
    """The socket files of one bus; `name` is ours."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._inode = 0

    def prepare(self) -> None:
        """Make the folder, 0700; raise BusError where socket paths would be too long."""
        temporary = self._folder / self._temporary()
        if len(os.fsencode(temporary)) > PATH_BYTES_MAX:
            raise BusError(f"{self._folder}: too long for socket paths", limit=PATH_BYTES_MAX)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)

    def path(self, name: str) -> Path:
        """Return where the process of that name listens."""
        return self._folder / (name + SUFFIX)

    def others(self) -> list[str]:
        """Return the names of all other socket files, in order."""
        names = (path.name.removesuffix(SUFFIX) for path in self._folder.glob("[!.]*" + SUFFIX))
        return sorted(name for name in names if name != self._name)

    def listen(self) -> socket.socket:
        """Return a listening socket, in the place of any predecessor's; raise FolderBusy."""
        with self._lock():
            for leftover in self._folder.glob(".*.new"):
                leftover.unlink()
            temporary = self._folder / self._temporary()
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                listener.bind(os.fspath(temporary))
                temporary.chmod(0o600)
                listener.listen(BACKLOG)
                self._inode = temporary.stat().st_ino
                temporary.rename(self.path(self._name))
            except BaseException:
                listener.close()
                raise
        return listener

    def remove_stale(self, name: str) -> bool:
        """Remove the file of a dead process; False where it lives, or the folder is busy."""
        path = self.path(name)
        try:
            with self._lock():
                if path.is_socket() and _is_dead(path):
                    path.unlink()
                    return True
        except (FolderBusy, OSError):  # busy, gone, or not ours to judge
            pass
        return False

    def remove_own(self) -> bool:
        """Remove our file unless a successor has put its own there; raise FolderBusy."""
        path = self.path(self._name)
        with self._lock():
            try:
                if path.stat().st_ino != self._inode:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def _temporary(self) -> str:
        return f".{self._name}.{os.getpid()}.new"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FolderBusy(f"{self._folder} is locked") from error
            yield
        finally:
            os.close(descriptor)


def _is_dead(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            return False
    return False
