"""Argon2id in threads of its own, with a limit on who waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from madang.edge import ApiError

THREADS: Final = 2
Value = TypeVar("Value")


class Hashing:
    """Makes and verifies what is stored of passwords."""

    def __init__(self, waiting_max: int) -> None:
        self._hasher = argon2.PasswordHasher()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._waiting_max = waiting_max
        self._waiting = 0
        self._nobody = ""

    async def make(self, password: str) -> str:
        """Return Argon2id text of a password; raises ApiError 503 where too many wait."""
        return await self._in_thread(lambda: self._hasher.hash(password))

    async def matches(self, encoded: str | None, password: str) -> bool:
        """Tell whether a password is the one; nobody's (None) costs as much as somebody's."""
        return await self._in_thread(lambda: self._matches(encoded, password))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], Value]) -> Value:
        if self._waiting >= self._waiting_max:
            raise ApiError(503, "too many people are signing in, try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _matches(self, encoded: str | None, password: str) -> bool:
        if encoded is None:
            if not self._nobody:
                self._nobody = self._hasher.hash("nobody has this password")
            encoded, password = self._nobody, ""
        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False
