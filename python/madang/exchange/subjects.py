"""Where the venue is asked and heard on the bus: one name each, for who serves and who asks."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = "venue.commands"
COMMITTED: Final = "venue.committed"
"""How far the log goes. Whoever was answered here has got what the venue had published before."""
COMMITTED_TIMEOUT_MS: Final = 1_000
"""How long who only wants what was published before waits for that answer."""
NOTICES: Final = "venue.notices"
DIRECTORY: Final = "venue.directory"
DIRECTORY_CHANGED: Final = "venue.directory.changed"


def events_subject(account: int) -> str:
    """Return the subject of an account's order events."""
    return f"venue.events.{account}"
