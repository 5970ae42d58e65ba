"""A module that starts a thread when it is imported: not safe to fork from."""

from __future__ import annotations

import threading

_FOREVER = threading.Event()
threading.Thread(target=_FOREVER.wait, daemon=True).start()
