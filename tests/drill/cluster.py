"""A cluster under drill: what `madang ls` shows of it, its load, and that none of it is left."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from madang.cli.place import runtime_dir
from tests.e2e.cluster_harness import ROOT, Cluster, cluster, http, until

BURIAL_LIMIT_S = 5.0
COMMAND_LIMIT_S = 30.0
LOAD_LIMIT_S = 300.0
ROLES = "tests.drill.cluster_roles"
PROGRAM = str(ROOT / "tests" / "drill" / "cluster_program.py")


@contextmanager
def drilled(
    folder: Path, applications: Sequence[Mapping[str, object]], **more: object
) -> Iterator[Cluster]:
    """Run a cluster where the command line finds it; it leaves no zombie and no process."""
    folders = {"runtime_dir": str(runtime_dir(folder / "state"))}
    settings = {"log": {"terminal": False}, **folders, **more}
    with cluster(folder, applications, **settings) as running:
        yield running
        if running.process.poll() is None:
            until(lambda: not zombies(running), BURIAL_LIMIT_S)


def role(name: str, function: str, **more: object) -> dict[str, object]:
    """Describe an application whose role is in `cluster_roles`."""
    return {"name": name, "target": f"{ROLES}:{function}", "preload": [ROLES], **more}


def asgi(folder: Path, source: str, **more: object) -> dict[str, object]:
    """Describe two instances of an ASGI application, whose file is written into `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "deployed.py").write_text(source)
    entry = {"name": "web", "kind": "asgi", "target": "deployed:app", "directory": str(folder)}
    return {**entry, "instances": 2, "ports": http(), **more}


def program(name: str, *words: str, **more: object) -> dict[str, object]:
    """Describe an application that is `cluster_program` with arguments."""
    entry = {"name": name, "kind": "python", "target": PROGRAM, "arguments": list(words)}
    return {**entry, "ready": "notify", **more}


def zombies(running: Cluster) -> list[int]:
    """Return the dead processes that nobody has taken leave of, below this cluster."""
    parents = {running.process.pid, *running.living()}
    found: list[int] = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) in parents:
            found.append(int(name))
    return found


def screen(running: Cluster) -> str:
    """Return what `madang ls` prints, or says where nothing runs."""
    done = subprocess.run(
        [sys.executable, "-m", "madang.cli.main", "ls", "--state", str(running.folder / "state")],
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
        check=False,
    )
    return done.stdout + done.stderr


def explains(running: Cluster, *words: str) -> None:
    """Wait until `madang ls` shows all of `words`."""
    last = ""

    def shown() -> bool:
        nonlocal last
        last = screen(running)
        return all(word in last for word in words)

    try:
        until(shown)
    except AssertionError as error:
        raise AssertionError(f"`madang ls` does not say {words}:\n{last}") from error


class Failure(NamedTuple):
    """A request that was not answered; times are monotonic nanoseconds."""

    kind: str
    why: str
    sent_ns: int
    failed_ns: int


class Load:
    """Steady HTTP load in a process of its own, on new and on kept connections."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "bench.steady_load", str(port), str(LOAD_LIMIT_S)),
                *("--new-per-s", "100", "--kept", "20", "--until-input-ends"),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "started\n"
        self.answers = 0
        self.errors = 0
        self.failures: list[Failure] = []
        self.slow: list[tuple[int, int]] = []
        """Sent and answered, of requests that waited for more than a second."""

    def end(self) -> None:
        """End it and take what it has counted."""
        output, _ = self._process.communicate(timeout=COMMAND_LIMIT_S)
        found: dict[str, Any] = json.loads(output)
        self.answers, self.errors = found["answers"], found["errors"]
        self.failures = [Failure(*failure) for failure in found["failures"]]
        self.slow = [(sent_ns, done_ns) for sent_ns, done_ns in found["slow"]]

    def kill(self) -> None:
        """End it whatever happened."""
        self._process.kill()
        self._process.wait()


@contextmanager
def load(port: int) -> Iterator[Load]:
    """Offer load for the length of a block; afterwards its failures are known."""
    running = Load(port)
    try:
        yield running
        running.end()
    finally:
        running.kill()


def seeded() -> random.Random:
    """Return the chance of this run, whose seed is printed; MADANG_SEED repeats one."""
    seed = int(os.environ.get("MADANG_SEED") or random.SystemRandom().randrange(1, 10**6))
    sys.stdout.write(f"MADANG_SEED={seed}\n")
    return random.Random(seed)
