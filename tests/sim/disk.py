"""A disk that keeps only what it promised.

Two views: what the running system reads (the page cache) and what is on the platter. A write
reaches the platter at `fdatasync` of its file, a name at `sync_folder`. At a power cut each piece
of what was not synced (512-byte sectors, one of them cut at any byte) is kept or dropped by chance,
in any order; names likewise, a rename whole or not at all. `fdatasync` that fails loses pieces
while the cache still shows them, as Linux does. All chance comes from one seeded Random.
"""

from __future__ import annotations

import copy
import errno
import random
from collections.abc import Callable
from pathlib import Path

SECTOR = 512


class PowerCut(BaseException):
    """The machine is off: nothing of the running program may go on."""


class Node:
    """A file's content, in the cache and on the platter."""

    def __init__(self) -> None:
        self.cache = bytearray()
        self.platter = bytearray()
        self.unsynced: list[tuple[int, bytes]] = []

    def write(self, data: bytes, offset: int) -> None:
        _put(self.cache, data, offset)
        self.unsynced.append((offset, data))

    def sync(self) -> None:
        for offset, data in self.unsynced:
            _put(self.platter, data, offset)
        self.unsynced = []

    def lose_some(self, chance: random.Random) -> None:
        """Let what was not synced reach the platter by chance, piece by piece, in any order."""
        pieces = [piece for write in self.unsynced for piece in _sectors(*write)]
        chance.shuffle(pieces)
        kept = chance.choice((0.0, 0.5, 0.9, 1.0))
        for offset, data in pieces:
            if chance.random() < kept:
                if chance.random() < 0.1:
                    cut = chance.randrange(len(data) + 1)
                    offset, data = chance.choice(((offset, data[:cut]), (offset + cut, data[cut:])))
                _put(self.platter, data, offset)
        self.unsynced = []


def _put(content: bytearray, data: bytes, offset: int) -> None:
    if not data:
        return
    if len(content) < offset + len(data):
        content.extend(bytes(offset + len(data) - len(content)))
    content[offset : offset + len(data)] = data


def _sectors(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    pieces = []
    at = 0
    while at < len(data):
        step = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
        pieces.append((offset + at, data[at : at + step]))
        at += step
    return pieces


NameChange = Callable[[dict[str, Node]], None]


class SimulatedFile:
    """An open file; every call may be the last before the power goes."""

    def __init__(self, disk: SimulatedDisk, node: Node) -> None:
        self._disk = disk
        self._node = node

    def pwrite(self, data: bytes, offset: int) -> int:
        if self._disk.step("pwrite"):
            raise OSError(errno.EIO, "Input/output error")
        data = bytes(data)
        if self._disk.chance.random() < self._disk.short_writes:
            data = data[: self._disk.chance.randrange(1, len(data) + 1)]
        growth = max(0, offset + len(data) - len(self._node.cache))
        room = self._disk.room()
        if growth > room:
            data = data[: len(data) - (growth - room)]
            if not data:
                raise OSError(errno.ENOSPC, "No space left on device")
        self._node.write(data, offset)
        self._disk.after_step()
        return len(data)

    def pread(self, size: int, offset: int) -> bytes:
        return bytes(self._node.cache[offset : offset + size])

    def fdatasync(self) -> None:
        if self._disk.step("fdatasync"):
            self._node.lose_some(self._disk.chance)
            raise OSError(errno.EIO, "Input/output error")
        if not self._disk.lies:
            self._node.sync()
        self._disk.after_step()

    def size(self) -> int:
        return len(self._node.cache)

    def close(self) -> None:
        pass


class SimulatedDisk:
    """Folders of files. `cut_in` counts calls down to a power cut; 0 means none."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.cut_in = 0
        self.fail_in = 0
        self.fail_what = "fdatasync"
        self.lies = False
        self.short_writes = 0.0
        self.capacity = 1 << 40
        self.dead = False
        self.steps = 0
        self._names: dict[str, Node] = {}
        self._durable: dict[str, Node] = {}
        self._changes: list[tuple[str, NameChange]] = []
        self._cut_after = False

    def clone(self, seed: int) -> SimulatedDisk:
        """Return a copy with chance of its own."""
        twin = copy.deepcopy(self)
        twin.chance = random.Random(seed)
        return twin

    def step(self, what: str) -> bool:
        """Count a call; cut the power before it, or note that it goes after it; True: it fails."""
        if self.dead:
            raise PowerCut
        self.steps += 1
        if self.cut_in:
            self.cut_in -= 1
            if not self.cut_in:
                if self.chance.random() < 0.5:
                    self._cut()
                self._cut_after = True
        if self.fail_in and what == self.fail_what:
            self.fail_in -= 1
            return not self.fail_in
        return False

    def after_step(self) -> None:
        if self._cut_after:
            self._cut()

    def _cut(self) -> None:
        self._cut_after = False
        self.dead = True
        raise PowerCut

    def power_cut(self) -> None:
        """What was not synced is kept or lost by chance; what remains is what can be read."""
        self.calm()
        kept = self.chance.choice((0.0, 0.5, 1.0))
        for _, change in self._changes:
            if self.chance.random() < kept:
                change(self._durable)
        self._changes = []
        self._names = dict(self._durable)
        for node in {id(node): node for node in self._names.values()}.values():
            node.lose_some(self.chance)
            node.cache = bytearray(node.platter)

    def killed(self) -> None:
        """Only the program died: the cache lives on."""
        self.calm()

    def calm(self) -> None:
        """Plan no fault."""
        self.dead = self._cut_after = False
        self.cut_in = self.fail_in = 0

    def room(self) -> int:
        """Return how many bytes files may still grow."""
        return max(0, self.capacity - self.used())

    def used(self) -> int:
        """Return the size of all files."""
        return sum(len(node.cache) for node in self._names.values())

    def open(self, path: Path, *, create: bool = False) -> SimulatedFile:
        self.step("open")
        name = str(path)
        if create:
            if name in self._names:
                raise FileExistsError(errno.EEXIST, "File exists", name)
            node = Node()
            self._change(name, lambda names: names.__setitem__(name, node))
            self.after_step()
        return self.open_to_read(path)

    def open_to_read(self, path: Path) -> SimulatedFile:
        try:
            return SimulatedFile(self, self._names[str(path)])
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path)) from None

    def rename(self, old: Path, new: Path) -> None:
        self.step("rename")
        if str(old) not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(old))
        node = self._names[str(old)]

        def change(names: dict[str, Node]) -> None:
            if names.pop(str(old), None) is not None or names is self._durable:
                names[str(new)] = node

        self._change(str(new), change)
        self.after_step()

    def unlink(self, path: Path) -> None:
        self.step("unlink")
        if str(path) not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))

        def change(names: dict[str, Node]) -> None:
            names.pop(str(path), None)

        self._change(str(path), change)
        self.after_step()

    def _change(self, name: str, change: NameChange) -> None:
        change(self._names)
        self._changes.append((str(Path(name).parent), change))

    def sync_folder(self, folder: Path) -> None:
        self.step("sync_folder")
        rest = []
        for place, change in self._changes:
            if place == str(folder) and not self.lies:
                change(self._durable)
            else:
                rest.append((place, change))
        self._changes = rest
        self.after_step()

    def make_folder(self, folder: Path) -> None:
        pass

    def names(self, folder: Path) -> list[str]:
        place = str(folder)
        return sorted(Path(name).name for name in self._names if str(Path(name).parent) == place)

    # -- what only tests do: look at and damage what is there

    def content(self, path: Path) -> bytes:
        """Return the bytes of a file."""
        return bytes(self._names[str(path)].cache)

    def put(self, path: Path, content: bytes) -> None:
        """Give a file a durable content."""
        node = self._names.setdefault(str(path), Node())
        self._durable[str(path)] = node
        node.cache, node.platter, node.unsynced = bytearray(content), bytearray(content), []
