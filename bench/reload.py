"""Reloads under load, beside pm2 with the seed's server and uvicorn's own reload: who notices?

Method: two workers; 200 requests a second on connections of their own, 50 kept connections with ten
requests a second each; on Madang also 2,000 clients of a hub endpoint that hear a number every
50 ms, which another program of the cluster broadcasts. Then reload after reload, each begun
when the one before is done. `failed_requests` are those without an answer, refused connections
among them; `closed_websockets`, `missed_messages` and `repeated_messages` are the hub clients'; the
gap is the longest time without a number on any one connection, its 50 ms included. A kept
connection that a server closed while it was idle is opened anew and counted
(`reopened_connections`). Plain ASGI WebSockets, whose state is in the application's coroutine, are
counted apart: Madang closes them with 1012 at a set pace. pm2 is measured over HTTP alone.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.harness import ROOT, PeerMissing, Report, options, say
from bench.managers import Madang, Manager, Pm2, Uvicorn, wait_for

RELOADS = 10
QUICK_RELOADS = 2
QUICK_PEER_RELOADS = 1
LISTENERS = 2_000
PLAIN = 100
NEW_PER_S = 200
KEPT = 50
LONGEST_S = 600
OPEN_FILES = 65_536
APPLICATION = "bench.peers.reload_plain:app"
TALKING = "bench.peers.reload_madang:app"
BROADCASTER = ROOT / "bench" / "peers" / "reload_numbers.py"


class TalkingMadang(Madang):
    """The application with its hub, and the program that broadcasts to it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, target=TALKING)
        self._run("start", str(BROADCASTER), "--name", "numbers", "--directory", str(ROOT))
        wait_for(self._broadcasts, 30, "the broadcaster")

    def _broadcasts(self) -> bool:
        return any(row["app"] == "numbers" and row["state"] == "ready" for row in self.rows())


class PlainUvicorn(Uvicorn):
    """The application without a hub."""

    application = APPLICATION


class Driver:
    """A load in a process of its own; it begins at once and ends with its input."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "started":
            raise PeerMissing(f"{module} could not begin")

    def end(self) -> dict[str, Any]:
        """Let it end and return its account."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        line = self._process.stdout.readline()
        self._process.wait()
        result: dict[str, Any] = json.loads(line)
        return result

    def kill(self) -> None:
        """End it whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def drive(stack: ExitStack, module: str, *arguments: str) -> Driver:
    """Begin a load that ends with the stack at the latest."""
    driver = Driver(module, *arguments)
    stack.callback(driver.kill)
    return driver


def measure(start: Callable[[Path], Manager], reloads: int) -> dict[str, float]:
    """Reload one manager's application under load."""
    with ExitStack() as stack:
        manager = start(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(manager.stop)
        port = str(manager.port)
        hub = plain = None
        if isinstance(manager, TalkingMadang):
            count = (str(LISTENERS), "--numbered")
            hub = drive(stack, "bench.reload_listeners", port, "/ws", *count)
        if not isinstance(manager, Pm2):
            plain = drive(stack, "bench.reload_listeners", port, "/plain", str(PLAIN))
        steady = ("--new-per-s", str(NEW_PER_S), "--kept", str(KEPT), "--until-input-ends")
        http = drive(stack, "bench.steady_load", port, str(LONGEST_S), *steady)
        for number in range(reloads):
            manager.reload()
            say(f"  {number + 1} of {reloads}")
        answered = http.end()
        found: dict[str, float] = {
            "failed_requests": len(answered["failures"]),
            "errors_5xx": answered["errors"],
            "reopened_connections": answered["reopened"],
            "answers": answered["answers"],
            "longest_http_gap_ms": round(answered["longest_gap_ms"], 1),
            "reloads": reloads,
        }
        if hub is not None:
            heard = hub.end()
            found |= {
                "closed_websockets": heard["closed"],
                "missed_messages": heard["missed"],
                "repeated_messages": heard["repeated"],
                "longest_gap_ms": round(heard["longest_gap_ms"], 1),
                "messages_heard": heard["heard"],
                "websockets": LISTENERS,
            }
        if plain is not None:
            found |= {"closed_plain_websockets": plain.end()["closed"], "plain_websockets": PLAIN}
    return found


def main() -> None:
    """Measure ours, pm2 and uvicorn."""
    given = options(__doc__ or "")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))
    report = Report("reload")
    say("madang")
    report.ours = measure(TalkingMadang, QUICK_RELOADS if given.quick else RELOADS)
    for name, start in (("pm2", Pm2), ("uvicorn", PlainUvicorn)):
        try:
            say(name)
            report.peers[name] = measure(start, QUICK_PEER_RELOADS if given.quick else RELOADS)
        except PeerMissing as missing:
            report.conditions[name] = str(missing)
    report.print(given)


if __name__ == "__main__":
    main()
