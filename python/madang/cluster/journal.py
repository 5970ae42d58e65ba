"""What the supervisor itself has to say: JSON lines through the logger, never waiting for it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime


class Journal:
    """Writes to the pipe whose write end is `descriptor`; a full pipe drops with a count."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._dropped = 0
        os.set_blocking(descriptor, False)

    def write(self, event: str, **facts: object) -> None:
        """Write one line."""
        stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line: dict[str, object] = {"event": event, **facts, "timestamp": stamp}
        if self._dropped:
            line["dropped"] = self._dropped
        try:
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")
        except BlockingIOError:
            self._dropped += 1
        else:
            self._dropped = 0
