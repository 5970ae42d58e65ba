"""A supervisor for the tests: settings as JSON in, one line of addresses out when all is ready."""

from __future__ import annotations

import json
import sys

from madang.cluster.entries import decode
from madang.cluster.foreground import become_supervisor
from madang.core.errors import MadangError

BANNER = '{"http": "{http}"}'


def main() -> None:
    """Become the supervisor that the first argument describes."""
    try:
        become_supervisor(decode(json.loads(sys.argv[1])), BANNER)
    except MadangError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
