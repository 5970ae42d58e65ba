"""Which files have changed: Linux's inotify, for reloading during development."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from madang.cluster.handles import Share, given, handle

IN_CLOEXEC = 0o2000000
IN_NONBLOCK = 0o4000
IN_CLOSE_WRITE = 0x8
IN_MOVED = 0x40 | 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_ISDIR = 0x40000000
IN_Q_OVERFLOW = 0x4000
EVENT = struct.Struct("=iIII")
READ_BYTES = 64 * 1024
FOLDERS_MAX = 4_096
PROBLEMS_MAX = 10
OVERFLOWN = "(more than can be told)"
SKIPPED = frozenset({"__pycache__", "node_modules"})
SKIPPED_ENDINGS = (".pyc", ".swp", ".tmp", "~")


class Inotify:
    """Watches folders with everything below them; hidden and generated files do not count."""

    def __init__(self, paths: Iterable[str], share: Share | None = None) -> None:
        """Watch `paths`; or go on with what another of us left, whose changes are still queued."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._folders: dict[int, tuple[str, str]]
        self._problems: list[str] = []
        if share is not None:
            self._descriptor = given(share["watch"])
            self._folders = {watch: (folder, only) for watch, folder, only in share["folders"]}
            return
        self._descriptor = self._libc.inotify_init1(IN_CLOEXEC | IN_NONBLOCK)
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._folders = {}
        for path in paths:
            if os.path.isdir(path):
                self._add_tree(path)
            else:
                self._add(os.path.dirname(path) or ".", os.path.basename(path))

    def leave(self) -> Share:
        """Return what a successor needs to go on."""
        folders = [[watch, *found] for watch, found in self._folders.items()]
        return {"watch": handle(self._descriptor), "folders": folders}

    def fileno(self) -> int:
        """Return the descriptor, which can be read when something has changed."""
        return int(self._descriptor)

    def changed(self) -> list[str]:
        """Return the paths that have changed since the last call, OVERFLOWN for those lost."""
        found: list[str] = []
        while True:
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                return found
            at = 0
            while at < len(data):
                watch, mask, _, size = EVENT.unpack_from(data, at)
                name = os.fsdecode(data[at + EVENT.size : at + EVENT.size + size].rstrip(b"\0"))
                at += EVENT.size + size
                if mask & IN_Q_OVERFLOW:
                    found.append(OVERFLOWN)
                    continue
                folder, only = self._folders.get(watch, ("", "?"))
                path = os.path.join(folder, name)
                if not counts(name) or only not in ("", name):
                    continue
                found.append(path)
                if mask & IN_ISDIR and mask & (IN_CREATE | IN_MOVED):
                    self._add_tree(path)

    def take_problems(self) -> list[str]:
        """Return what is not watched and why, once."""
        problems, self._problems = self._problems, []
        return problems

    def close(self) -> None:
        """Watch nothing any more."""
        os.close(self._descriptor)

    def _add_tree(self, path: str) -> None:
        for folder, names, _ in os.walk(path):
            names[:] = [name for name in names if counts(name)]
            if len(self._folders) >= FOLDERS_MAX:
                self._note(f"{folder}: more than {FOLDERS_MAX} folders")
                return
            self._add(folder, "")

    def _add(self, folder: str, only: str) -> None:
        mask = IN_CLOSE_WRITE | IN_MOVED | IN_CREATE | IN_DELETE
        watch = self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask)
        if watch >= 0:
            self._folders[watch] = (folder, only)
        else:
            self._note(f"{folder}: {os.strerror(ctypes.get_errno())}")

    def _note(self, problem: str) -> None:
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(problem)


def counts(name: str) -> bool:
    """Whether a change of `name` is a change of the program."""
    return not (name.startswith(".") or name in SKIPPED or name.endswith(SKIPPED_ENDINGS))
