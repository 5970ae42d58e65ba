"""Become the supervisor: the same process, without what the command line had to import.

The composition root knows every application and weighs accordingly; the supervisor shall stay small
for as long as it runs. So the settings go into a memfd and the process executes itself anew: the
pid, the terminal and the parent stay what they were.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NoReturn

from madang.cluster import linux
from madang.cluster.checks import check
from madang.cluster.entries import decode
from madang.cluster.escaped import LIFE
from madang.cluster.handles import Share
from madang.cluster.settings import ClusterSettings
from madang.cluster.succession import VERSION, CannotTakeOver
from madang.cluster.supervisor import Addresses, examine, run_supervisor
from madang.cluster.upgrade import CHECK, RESUME, close_on_exec, received
from madang.core.errors import MadangError

EXIT_FAILED = 1


def become_supervisor(settings: ClusterSettings, banner: str) -> NoReturn:
    """Replace this program by the supervisor of `settings`; never returns.

    `banner` is written to standard output when all is ready for the first time, each `{name}` of a
    port in it replaced by `host:port`; where something is not up, that is said instead. The exit
    code is that of `run_supervisor`, or 1 with one line on standard error. Raises SettingsError
    before anything is replaced.
    """
    check(settings)
    descriptor = os.memfd_create("madang-settings", 0)
    with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
        json.dump({"settings": asdict(settings), "banner": banner}, file, default=str)
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ.pop(LIFE, None)  # started by a child of another cluster, we are no part of it
    arguments = [sys.executable, "-m", "madang.cluster.foreground", str(descriptor)]
    os.execv(sys.executable, arguments)


def render(banner: str, addresses: Addresses) -> str:
    """Return `banner` with the addresses in it."""
    for name, (host, port) in addresses.items():
        shown = f"[{host}]" if ":" in host else host
        banner = banner.replace(f"{{{name}}}", f"{shown}:{port}")
    return banner


def partly_up(names: Sequence[str], down: Mapping[str, str]) -> str:
    """Return what is up of the applications `names` and what is not, with the reasons in `down`."""
    good = ", ".join(name for name in names if name not in down)
    lines = [f"{name} is not up: {why}; see `madang logs {name}`" for name, why in down.items()]
    return "\n".join([f"{good or 'nothing'} is up", *lines])


def main() -> int:
    """Run what the memfd with the given number describes: settings, or a whole supervisor."""
    if sys.argv[1] in (RESUME, CHECK):
        return _succeed(received(int(sys.argv[2])), only_check=sys.argv[1] == CHECK)
    table = received(int(sys.argv[1]))

    def on_ready(addresses: Addresses, down: Mapping[str, str]) -> None:
        names = [entry["name"] for entry in table["settings"]["applications"]]
        text = partly_up(names, down) if down else render(table["banner"], addresses)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    try:
        return run_supervisor(decode(table["settings"]), on_ready)
    except MadangError as error:
        sys.stderr.write(f"madang: {error.message}\n")
        return EXIT_FAILED


def _succeed(share: Share, *, only_check: bool) -> int:
    """Go on as the supervisor that left `share`, or say whether that would be possible."""
    if only_check:
        linux.die_with_parent(signal.SIGKILL)
    close_on_exec(share)
    try:
        if share["version"] != VERSION:
            known = f"its form has version {share['version']}, this code knows {VERSION}"
            raise CannotTakeOver(f"the state of the running supervisor cannot be read: {known}")
        settings = decode(share["settings"])
        if only_check:
            examine(settings, share)
            os._exit(0)  # nothing that was opened here is ours to close or remove
        return run_supervisor(settings, lambda *_: None, share)
    except MadangError as error:
        sys.stderr.write(f"madang: {error.message}\n")
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
