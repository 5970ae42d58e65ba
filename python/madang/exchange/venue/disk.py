"""The disk as a port: the few calls whose durability the log relies on.

What is promised: bytes are durable after `fdatasync` of their file, a name (created, renamed,
removed) after `sync_folder` of its folder; nothing before. Every call may raise OSError.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

ZEROS = bytes(1024 * 1024)


class File(Protocol):
    """An open file; offsets and sizes in bytes."""

    def pwrite(self, data: bytes, offset: int) -> int:
        """Write at `offset`; return how many bytes were taken, at least 1."""
        ...

    def pread(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer only at the end of the file."""
        ...

    def fdatasync(self) -> None:
        """Return when what was written is durable."""
        ...

    def size(self) -> int:
        """Return the size of the file."""
        ...

    def close(self) -> None:
        """Close the file; nothing is made durable by it."""
        ...


class Disk(Protocol):
    """Files and folders."""

    def open(self, path: Path, *, create: bool = False) -> File:
        """Open for reading and writing; `create` makes it anew and raises FileExistsError."""
        ...

    def open_to_read(self, path: Path) -> File:
        """Open for reading."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Rename within a folder, replacing `new`."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in `folder` are durable."""
        ...

    def make_folder(self, folder: Path) -> None:
        """Make `folder` and its parents where they are missing."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Return the names in `folder`, sorted; none where it does not exist."""
        ...


class RealFile:
    """A file of this machine."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def pwrite(self, data: bytes, offset: int) -> int:
        """Write at `offset`; return how many bytes were taken."""
        return os.pwrite(self._fd, data, offset)

    def pread(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes from `offset`."""
        data = os.pread(self._fd, size, offset)
        if not data or len(data) == size:
            return data
        pieces = [data]  # the kernel returns at most 2 GiB, and less after a signal
        got = len(data)
        while got < size:
            data = os.pread(self._fd, size - got, offset + got)
            if not data:
                break
            pieces.append(data)
            got += len(data)
        return b"".join(pieces)

    def fdatasync(self) -> None:
        """Return when what was written is durable."""
        os.fdatasync(self._fd)

    def size(self) -> int:
        """Return the size of the file."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class RealDisk:
    """The disk of this machine."""

    def open(self, path: Path, *, create: bool = False) -> RealFile:
        """Open for reading and writing."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        return RealFile(os.open(path, flags, 0o600))

    def open_to_read(self, path: Path) -> RealFile:
        """Open for reading."""
        return RealFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def rename(self, old: Path, new: Path) -> None:
        """Rename within a folder."""
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in `folder` are durable."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def make_folder(self, folder: Path) -> None:
        """Make `folder` and its parents, each durable in its own parent."""
        if folder.is_dir():
            return
        self.make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        self.sync_folder(folder.parent)

    def names(self, folder: Path) -> list[str]:
        """Return the names in `folder`, sorted."""
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []


def write_all(file: File, data: bytes, offset: int) -> None:
    """Write all of `data`, in as many calls as the disk wants."""
    done = file.pwrite(data, offset)
    while done < len(data):
        done += file.pwrite(data[done:], offset + done)


def read_whole(disk: Disk, path: Path) -> bytes:
    """Return the content of a file."""
    file = disk.open_to_read(path)
    try:
        return file.pread(file.size(), 0)
    finally:
        file.close()


def write_new_file(disk: Disk, path: Path, data: bytes) -> None:
    """Make `path` appear with `data`, whole and durable, or not at all (an old one is replaced)."""
    temporary = path.with_name(path.name + ".tmp")
    if temporary.name in disk.names(path.parent):
        disk.unlink(temporary)
    file = disk.open(temporary, create=True)
    try:
        write_all(file, data, 0)
        file.fdatasync()
    finally:
        file.close()
    disk.rename(temporary, path)
    disk.sync_folder(path.parent)
