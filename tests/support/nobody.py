"""A user without rights, for tests that run as root."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from typing import Final

NOBODY: Final = 65534


@lru_cache(maxsize=1)
def nobody_can_run_python() -> bool:
    """Tell whether we can become that user, and it may read our interpreter and its library."""
    if os.getuid() != 0:
        return False
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import decimal, warnings"],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            check=False,
            cwd="/",
        )
    except OSError:
        return False
    return done.returncode == 0
