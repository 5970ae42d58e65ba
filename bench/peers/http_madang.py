"""Our side of bench/http.py: a supervisor and its workers, serving the example as any other."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from madang.cluster.entries import decode
from madang.cluster.foreground import become_supervisor

ROLE = "madang.edge.asgi.process:main"


def main() -> None:
    """Serve `target` with so many workers on a port until SIGTERM."""
    port, workers, target, directory = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(prefix="madang-bench-"))
    entry = {
        "name": "web",
        "target": ROLE,
        "instances": int(workers),
        "ports": [{"name": "http", "host": "127.0.0.1", "port": int(port)}],
        "options": {"target": target, "directory": directory},
        "preload": ["madang.edge.asgi.process"],
    }
    table = {
        "state_dir": str(folder / "state"),
        "runtime_dir": str(folder / "run"),
        "applications": [entry],
    }
    become_supervisor(decode(table), "serving")


if __name__ == "__main__":
    main()
