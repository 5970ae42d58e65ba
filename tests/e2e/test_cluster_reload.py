"""Reloads: nobody notices a good one, and a bad one ends where it began."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster_harness import Cluster, cluster, http, role, until

WATCH_MS = 500


def write_version(folder: Path, text: str) -> None:
    """Deploy: replace the code, with a time stamp that no cached bytecode has."""
    file = folder / "version.py"
    count = int(time.time()) + len(list(folder.iterdir()))
    file.write_text(text)
    os.utime(file, (count, count))


@contextmanager
def deployed(folder: Path, **more: object) -> Iterator[tuple[Cluster, tuple[str, int]]]:
    """Run version `one` in two workers."""
    code = folder / "code"
    code.mkdir()
    write_version(code, "VERSION = 'one'")
    entry: dict[str, Any] = {"name": "web", "instances": 2, "ports": http(), "watch_ms": WATCH_MS}
    entry |= {"target": "tests.e2e.cluster_reload:main", "preload": ["version"]}
    entry |= {"directory": str(code), "environment": {"PYTHONDONTWRITEBYTECODE": "1"}}
    with cluster(folder, [{**entry, **more}]) as running:
        yield running, running.wait_ready()["http"]


def ask(client: socket.socket) -> str:
    """Ask over an open connection which version answers."""
    client.sendall(b"who\n")
    return client.recv(64).decode().split()[0]


def once(address: tuple[str, int]) -> str:
    with socket.create_connection(address, timeout=10) as client:
        return ask(client)


@contextmanager
def connected(address: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    """Hold `count` connections, each of which has been answered by version `one`."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(count)
        ]
        assert {ask(client) for client in clients} == {"one"}
        yield clients


class Load:
    """New connections all the time, until it is left; remembers what went wrong."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.versions: set[str] = set()
        self.failures: list[str] = []
        self.served = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                self.versions.add(once(self.address))
                self.served += 1
            except (OSError, IndexError) as error:
                self.failures.append(repr(error))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def test_nobody_notices_a_reload(tmp_path: Path) -> None:
    with (
        deployed(tmp_path) as (running, address),
        Load(address) as load,
        connected(address, 40) as kept,
    ):
        for number, version in enumerate(("two", "three", "four"), 2):
            write_version(tmp_path / "code", f"VERSION = '{version}'")
            done = running.operate("reload", name="web")
            assert (done["state"], done["reason"]) == ("done", "")
            assert {ask(client) for client in kept} == {version}
            rows = running.ask("ls")["rows"]
            shown = [(row["name"], row["state"], row["generation"]) for row in rows]
            assert shown == [("web-0", "ready", number), ("web-1", "ready", number)]
    assert load.failures == []
    assert load.served > 100
    assert load.versions == {"one", "two", "three", "four"}


BROKEN = {
    "an import error": ("import no_such_module", "failed", "No module named 'no_such_module'"),
    "never ready": ("VERSION = 'never'", "failed", "not ready after 1500 ms"),
    "a crash after it was ready": ("VERSION = 'crash'", "rolled_back", "the new version is no"),
    "half of its answers wrong": ("VERSION = 'wrong'", "rolled_back", "answers were errors"),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_broken_deploy_ends_on_the_old_generation_and_says_why(tmp_path: Path, what: str) -> None:
    code, state, words = BROKEN[what]
    fewest = 2
    limits = {"start_timeout_ms": 1_500 if "never" in what else 20_000, "watch_ms": 2_000}
    with (
        deployed(tmp_path, **limits) as (running, address),
        connected(address, 10) as kept,
    ):
        pids = {running.pid("web-0"), running.pid("web-1")}
        with Load(address) as load:
            write_version(tmp_path / "code", code)
            number = running.ask("reload", name="web")["operation"]
            while (done := running.ask("operation", id=number))["state"] == "running":
                fewest = min(fewest, running.ask("ls")["applications"][0]["ready"])
            assert done["state"] == state
            assert words in done["reason"]
            assert words in running.ask("describe", name="web")["application"]["problem"]
            rows = running.ask("ls")["rows"]
            assert {row["pid"] for row in rows} == pids
            assert {ask(client) for client in kept} == {"one"}
            served = load.served
            until(lambda: load.served > served + 20)
        assert {once(address) for _ in range(10)} == {"one"}
    if state == "failed":
        assert load.failures == []
        assert fewest == 2
    else:  # only what a crashed new process had accepted is cut
        assert len(load.failures) <= (2 if "crash" in what else 0)


def test_without_handlers_the_old_generation_finishes_what_it_has(tmp_path: Path) -> None:
    with deployed(tmp_path, options={"hand_over": False}) as (running, address):
        with socket.create_connection(address, timeout=10) as client:
            assert ask(client) == "one"
            write_version(tmp_path / "code", "VERSION = 'two'")
            assert running.operate("reload", name="web")["state"] == "done"
            assert client.recv(10) == b""
        assert once(address) == "two"


def test_an_exclusive_application_is_replaced_in_place_and_comes_back_as_it_was(
    tmp_path: Path,
) -> None:
    entry = {"instances": 1, "exclusive": True}
    with deployed(tmp_path, **entry) as (running, address):
        write_version(tmp_path / "code", "VERSION = 'two'")
        assert running.operate("reload", name="web")["state"] == "done"
        assert once(address) == "two"
        write_version(tmp_path / "code", "import no_such_module")
        done = running.operate("reload", name="web")
        assert done["state"] == "rolled_back"
        assert "No module named 'no_such_module'" in done["reason"]
        assert once(address) == "two"
        pid = running.kill("web-0")
        until(lambda: running.replaced("web-0", pid))
        assert once(address) == "two"


def test_a_stop_in_the_middle_of_a_reload_ends_both_generations(tmp_path: Path) -> None:
    with deployed(tmp_path, watch_ms=60_000) as (running, _):
        running.ask("reload", name="web")
        until(lambda: len(running.ask("ls")["rows"]) == 4)
        assert running.operate("stop", name="web")["state"] == "done"
        assert {row["state"] for row in running.ask("ls")["rows"]} == {"stopped"}
        assert running.operate("start", name="web")["state"] == "done"
        running.ask("reload", name="web")
        until(lambda: len(running.ask("ls")["rows"]) == 4)
        assert running.stop() == 0


def test_from_the_watch_time_on_new_connections_go_to_the_new_generation(tmp_path: Path) -> None:
    with deployed(tmp_path, watch_ms=60_000) as (running, address), connected(address, 5) as kept:
        write_version(tmp_path / "code", "VERSION = 'two'")
        running.ask("reload", name="web")
        until(lambda: [row["accepting"] for row in running.ask("ls")["rows"]].count(False) == 2)
        until(lambda: once(address) == "two")
        for _ in range(60):
            assert once(address) == "two"
        assert {ask(client) for client in kept} == {"one"}
        hung = next(row for row in running.ask("ls")["rows"] if row["accepting"])
        os.kill(hung["pid"], 9)
        until(lambda: running.ask("operation", id=1)["state"] == "rolled_back")
        assert {once(address) for _ in range(20)} == {"one"}


def test_scaling_down_moves_connections_to_those_who_stay(tmp_path: Path) -> None:
    with deployed(tmp_path) as (running, address), connected(address, 20) as kept:
        before = [row["connections"] for row in running.ask("ls")["rows"]]
        assert min(before) > 0
        assert running.operate("scale", name="web", instances="1")["state"] == "done"
        assert {ask(client) for client in kept} == {"one"}
        assert [row["connections"] for row in running.ask("ls")["rows"]] == [20]


def test_another_operation_on_a_busy_application_is_refused(tmp_path: Path) -> None:
    with deployed(tmp_path, watch_ms=60_000) as (running, _):
        running.ask("reload", name="web")
        answers = [json.dumps(running.try_ask(word, name="web")) for word in ("reload", "restart")]
        assert all("web is busy: operation 1 (reload web) runs" in answer for answer in answers)


def test_saved_files_reload_what_watches_them(tmp_path: Path) -> None:
    with deployed(tmp_path, watch_files=["."], watch_ms=50) as (running, address):
        until(lambda: once(address) == "one")
        time.sleep(1.2)  # files are watched from the first look of the supervisor on
        write_version(tmp_path / "code", "VERSION = 'two'")
        until(lambda: once(address) == "two")
        kinds = [found["kind"] for found in running.ask("ls")["operations"]]
        assert kinds == ["reload"]
        steps = running.ask("ls")["operations"][0]["steps"]
        assert steps[0]["text"] == "files have changed"


def test_saved_files_do_not_start_what_was_stopped(tmp_path: Path) -> None:
    watched = {"watch_files": [".", "missing/more"]}
    with deployed(tmp_path, watch_ms=50, **watched) as (running, _):
        witness = {"name": "witness", "kind": "command", "target": "sleep", "arguments": ["600"]}
        folder = str(tmp_path / "code")
        running.operate("start", application={**witness, "directory": folder, **watched})
        until(lambda: running.log("madang").count("missing: No such file") == 2)  # watched by now
        assert running.operate("stop", name="web")["state"] == "done"
        write_version(tmp_path / "code", "VERSION = 'two'")

        def reloaded() -> list[str]:
            operations = running.ask("ls")["operations"]
            return [f["name"] for f in operations if f["kind"] == "reload" and f["state"] == "done"]

        until(lambda: reloaded() == ["witness"])
        states = {row["state"] for row in running.ask("ls")["rows"] if row["app"] == "web"}
        assert states == {"stopped"}


def test_a_worn_instance_is_replaced_gracefully(tmp_path: Path) -> None:
    with deployed(tmp_path, requests_max=30, watch_ms=50) as (running, address):
        pids = {running.pid("web-0"), running.pid("web-1")}
        with Load(address) as load:
            until(lambda: not pids & {running.pid("web-0"), running.pid("web-1")})
        assert load.failures == []
        found = running.ask("ls")["operations"][0]
        assert (found["kind"], found["state"]) == ("replace", "done")
        assert "requests over 30" in found["steps"][0]["text"]


def test_a_role_of_the_same_module_that_says_nothing_is_reloaded_too(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "idle", watch_ms=50)]) as running:
        running.wait_ready()
        pid = running.pid("venue")
        assert running.operate("reload", name="venue")["state"] == "done"
        assert running.pid("venue") != pid
