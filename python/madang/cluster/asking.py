"""Asking the supervisor from an event loop: one question, one answer, bounded in time and bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from madang.cluster.control import ANSWER_BYTES_MAX, SOCKET_NAME
from madang.cluster.errors import ControlRefused, NotRunning

TIMEOUT_S = 2.0


async def ask(
    runtime_dir: Path, question: Mapping[str, object], timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Return the answer; raise NotRunning (nobody answers), or ControlRefused with the reason."""
    path = runtime_dir / SOCKET_NAME
    try:
        async with asyncio.timeout(timeout_s):
            line = await _exchange(path, json.dumps(dict(question)).encode() + b"\n")
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise NotRunning("the supervisor does not answer", path=str(path)) from error
    if not line.endswith(b"\n"):
        raise NotRunning("the supervisor ended before it answered", path=str(path))
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise ControlRefused(str(answer["error"]))
    return answer


async def _exchange(path: Path, question: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=ANSWER_BYTES_MAX)
    try:
        writer.write(question)
        return await reader.readline()
    finally:
        writer.close()
