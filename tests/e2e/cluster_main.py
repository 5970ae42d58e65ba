"""A supervisor for the tests: settings as JSON in, one line of addresses out when all is ready."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from madang.cluster.settings import (
    ApplicationSettings,
    ClusterSettings,
    LogSettings,
    PortSettings,
    RestartSettings,
    WatchdogSettings,
)
from madang.cluster.supervisor import run_supervisor
from madang.core.errors import MadangError


def main() -> int:
    """Run what the first argument describes."""
    table = json.loads(sys.argv[1])
    applications = []
    for entry in table["applications"]:
        ports = tuple(PortSettings(**port) for port in entry.pop("ports", []))
        preload = tuple(entry.pop("preload", ["tests.e2e.cluster_roles"]))
        applications.append(ApplicationSettings(ports=ports, preload=preload, **entry))
    settings = ClusterSettings(
        Path(table["folder"]) / table.get("state", "state"),
        Path(table["folder"]) / table.get("runtime", "run"),
        tuple(applications),
        restart=RestartSettings(**table.get("restart", {})),
        watchdog=WatchdogSettings(**table.get("watchdog", {})),
        log=LogSettings(**table.get("log", {})),
        **table.get("other", {}),
    )
    try:
        return run_supervisor(settings, _on_ready)
    except MadangError as error:
        sys.stderr.write(error.message + "\n")
        return 2


def _on_ready(addresses: Mapping[str, tuple[str, int]]) -> None:
    sys.stdout.write(json.dumps(addresses) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
