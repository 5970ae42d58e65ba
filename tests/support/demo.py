"""The whole product for a test: `madang up --demo` on a free port in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import running


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: where it listens, who may sign in, and its supervisor."""

    address: str
    name: str
    password: str
    key_id: str
    secret: str
    state_dir: Path
    process: running.Process

    def pids(self, application: str) -> list[int]:
        """Return the processes of one application that are ready."""
        return running.ready_pids(self.state_dir, application)

    def kill(self, application: str) -> int:
        """Kill every process of an application without warning; return how many."""
        pids = self.pids(application)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)


@contextmanager
def running_demo(
    folder: Path,
    *flags: str,
    madang: Path = Path(sys.executable).parent / "madang",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Demo]:
    """Start a demo with two workers in `folder`, and stop it at the end whatever happened."""
    state_dir = folder / "state"
    output = folder / "output.txt"
    arguments = ["up", "--demo", "--state", str(state_dir), "--port", "0", "--workers", "2"]
    process = running.start(
        [*arguments, *flags], output, command=[str(madang)], environment=environment
    )
    try:
        yield _demo(process, running.wait_until_up(process, output), state_dir)
    finally:
        running.stop(process)


def _demo(process: running.Process, text: str, state_dir: Path) -> Demo:
    found = re.search(r"address\s+(\S+)", text)
    assert found, f"no address in: {text}"
    person = json.loads((state_dir / "demo.json").read_text())["persons"]["demo"]
    return Demo(
        found.group(1),
        person["plan"]["name"],
        person["password"],
        person["key_id"],
        person["secret"],
        state_dir,
        process,
    )
