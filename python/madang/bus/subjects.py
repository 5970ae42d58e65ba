"""Subjects and the table that finds who wants one: a trie of tokens with a bounded answer cache.

A subject is tokens joined by `.`; a pattern may have `*` for one token and, last, `>` for one or
more. Invariant: `match` gives each value once however many of its patterns match, and the cache
never answers what the trie would not: adding or removing a literal pattern forgets that one
subject, a wildcard forgets all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from madang.bus.errors import InvalidSubject
from madang.wire.busframes import SUBJECT_BYTES_MAX

CACHE_ENTRIES_MAX: Final = 16_384

_TOKEN = r"[!-)+,\-/-=?-~]+"  # printable ASCII without space, `*`, `.` and `>`
_SUBJECT: Final = re.compile(rf"{_TOKEN}(?:\.{_TOKEN})*")
_PATTERN: Final = re.compile(rf"(?:(?:{_TOKEN}|\*)\.)*(?:{_TOKEN}|\*|>)")
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")

Value = TypeVar("Value")


def check_subject(subject: str) -> None:
    """Raise InvalidSubject unless `subject` names exactly one subject."""
    if len(subject) > SUBJECT_BYTES_MAX or not _SUBJECT.fullmatch(subject):
        raise InvalidSubject(f"no subject: {subject[:80]!r}", subject=subject[:80])


def check_pattern(pattern: str) -> None:
    """Raise InvalidSubject unless `pattern` is a subject, possibly with wildcards."""
    if len(pattern) > SUBJECT_BYTES_MAX or not _PATTERN.fullmatch(pattern):
        raise InvalidSubject(f"no pattern: {pattern[:80]!r}", pattern=pattern[:80])


def check_name(name: str) -> None:
    """Raise InvalidSubject unless `name` can name a process (and its socket file)."""
    if not _NAME.fullmatch(name):
        raise InvalidSubject(f"no process name: {name[:80]!r}", name=name[:80])


class _Branch(Generic[Value]):
    """One place in the trie: the values whose pattern ends here, and what goes on."""

    __slots__ = ("children", "pattern", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Branch[Value]] = {}
        self.values: dict[Value, None] = {}
        self.pattern = ""


class SubjectTable(Generic[Value]):
    """Patterns with their values, and which of them a subject matches."""

    __slots__ = ("_cache", "_root", "_size")

    def __init__(self) -> None:
        self._root: _Branch[Value] = _Branch()
        self._cache: dict[str, tuple[Value, ...]] = {}
        self._size = 0

    def __len__(self) -> int:
        """Return the number of (pattern, value) pairs."""
        return self._size

    def add(self, pattern: str, value: Value) -> bool:
        """Add a pair; False if it was there. Raise InvalidSubject."""
        check_pattern(pattern)
        branch = self._root
        for token in pattern.split("."):
            branch = branch.children.setdefault(token, _Branch())
        if value in branch.values:
            return False
        branch.pattern = pattern
        branch.values[value] = None
        self._size += 1
        self._forget(pattern)
        return True

    def discard(self, pattern: str, value: Value) -> bool:
        """Remove a pair and the branches that become empty; False if it was not there."""
        path: list[tuple[_Branch[Value], str]] = []
        branch = self._root
        for token in pattern.split("."):
            path.append((branch, token))
            following = branch.children.get(token)
            if following is None:
                return False
            branch = following
        if value not in branch.values:
            return False
        del branch.values[value]
        self._size -= 1
        for parent, token in reversed(path):
            child = parent.children[token]
            if child.values or child.children:
                break
            del parent.children[token]
        self._forget(pattern)
        return True

    def match(self, subject: str) -> tuple[Value, ...]:
        """Return the values whose patterns match, each once; raise InvalidSubject."""
        found = self._cache.get(subject)
        if found is None:
            check_subject(subject)
            values: dict[Value, None] = {}
            for branch in self._walk(subject):
                values.update(branch.values)
            found = tuple(values)
            if len(self._cache) >= CACHE_ENTRIES_MAX:
                self._cache.clear()
            self._cache[subject] = found
        return found

    def patterns(self, subject: str, value: Value) -> list[str]:
        """Return the patterns of `value` that match `subject` (not cached)."""
        return [branch.pattern for branch in self._walk(subject) if value in branch.values]

    def _walk(self, subject: str) -> Iterator[_Branch[Value]]:
        tokens = subject.split(".")
        level = [self._root]
        for token in tokens:
            following: list[_Branch[Value]] = []
            for branch in level:
                rest = branch.children.get(">")
                if rest is not None:
                    yield rest
                for key in (token, "*"):
                    child = branch.children.get(key)
                    if child is not None:
                        following.append(child)
            level = following
        yield from level

    def _forget(self, pattern: str) -> None:
        if "*" in pattern or pattern.endswith(">"):
            self._cache.clear()
        else:
            self._cache.pop(pattern, None)
