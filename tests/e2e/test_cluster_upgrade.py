"""`madang upgrade`: the supervisor becomes new code, and neither child nor client notices."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import cluster_harness
from tests.e2e.cluster_harness import ROOT, Cluster, cluster, http, role, until

LOAD_S = 30.0
HELLO = f"{ROOT}/examples/hello.py:app"


@contextmanager
def steady_load(port: int) -> Iterator[dict[str, Any]]:
    """Load with new and kept connections; what happened is in the table at the end."""
    arguments = [sys.executable, "-m", "bench.steady_load", str(port), str(LOAD_S)]
    arguments += ["--until-input-ends", "--new-per-s", "100", "--kept", "20", "--pause-ms", "20"]
    found: dict[str, Any] = {}
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, cwd=ROOT, stdin=pipe, stdout=pipe) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"started\n"
        yield found
        said, _ = client.communicate()
        found |= json.loads(said)


def pids(running: Cluster) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in running.ask("ls")["rows"]}


def upgraded(running: Cluster) -> dict[str, Any]:
    done = running.operate("upgrade")
    assert done["state"] == "done", done
    return done


def test_under_load_no_request_fails_and_no_process_ends_twice_in_a_row(tmp_path: Path) -> None:
    web = {"name": "web", "kind": "asgi", "target": HELLO, "instances": 2, "ports": http()}
    with cluster(tmp_path, [web, role("venue", "idle")]) as running:
        address = running.wait_ready()["http"]
        before, supervisor = pids(running), running.ask("ls")["supervisor"]
        with steady_load(address[1]) as load:
            for _ in range(2):
                upgraded(running)
        assert load["failures"] == []
        assert load["reopened"] == 0
        assert load["answers"] > 50
        assert pids(running) == before
        found = running.ask("ls")
        assert found["supervisor"] == supervisor == running.process.pid
        assert [row["restarts"] for row in found["rows"]] == [0, 0, 0]
        assert [(o["kind"], o["state"]) for o in found["operations"]] == [("upgrade", "done")] * 2
        assert running.stop() == 0


@contextmanager
def own_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have the cluster run a copy of the program, so that another version can be put there."""
    copy = folder / "installed"
    unwanted = shutil.ignore_patterns("static", "__pycache__")
    shutil.copytree(ROOT / "python" / "madang", copy / "python" / "madang", ignore=unwanted)
    (copy / "tests").symlink_to(ROOT / "tests")
    monkeypatch.setattr(cluster_harness, "ROOT", copy)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    yield copy / "python" / "madang"


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_it_is_new_code_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        own_copy(tmp_path, monkeypatch) as code,
        cluster(tmp_path, [role("web", "answer", instances=2, ports=http())]) as running,
    ):
        running.wait_ready()
        before = pids(running)
        edit(code / "__init__.py", '__version__ = "', '__version__ = "99.')
        done = upgraded(running)
        assert any("version 99." in step["text"] for step in done["steps"])
        assert pids(running) == before


BREAKS = {
    "import": ("cluster/policy.py", "import Callable\n", "import Callable\nimport nothing\n"),
    "syntax": ("cluster/supervisor.py", "class Supervisor:", "class Supervisor"),
    "state": ("cluster/succession.py", "VERSION = 1\n", "VERSION = 2\n"),
    "field": ("cluster/succession.py", '"cpu_percent", "rss"', '"cpu_percent", "rss", "mood"'),
    "endless": ("cluster/foreground.py", "def main()", "while True: pass\ndef main()"),
}
REASONS = {
    "import": "No module named 'nothing'",
    "syntax": "SyntaxError",
    "state": "its form has version 1, this code knows 2",
    "field": "KeyError: 'mood'",
    "endless": "it did not end in time",
}


@pytest.mark.parametrize("kind", BREAKS)
def test_new_code_that_cannot_take_over_is_refused_with_the_reason(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_copy(tmp_path, monkeypatch) as code:
        edit(code / "cluster/upgrade.py", "CHECK_LIMIT_NS = 30_000", "CHECK_LIMIT_NS = 5_000")
        with cluster(tmp_path, [role("web", "answer", instances=2, ports=http())]) as running:
            address = running.wait_ready()["http"]
            before = pids(running)
            file, old, new = BREAKS[kind]
            whole = (code / file).read_text()
            edit(code / file, old, new)
            done = running.operate("upgrade")
            assert done["state"] == "failed"
            assert REASONS[kind] in done["reason"]
            assert pids(running) == before
            assert answering(address) in before.values()
            (code / file).write_text(whole)
            until(lambda: len(running.living()) == len(before) + 3)  # supervisor, template, logger
            upgraded(running)
            assert pids(running) == before


def wait_done(running: Cluster, operation: int) -> None:
    until(lambda: running.ask("operation", id=operation)["state"] == "done")


def answering(address: tuple[str, int]) -> int:
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"who\n")
        return int(client.recv(64))


def test_a_child_that_dies_at_any_moment_of_it_is_replaced(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    with cluster(tmp_path, [role("web", "answer", instances=2, ports=http())]) as running:
        address = running.wait_ready()["http"]
        for number in range(6):
            victim = running.pid("web-0")
            if number == 0:
                os.kill(victim, signal.SIGKILL)  # it has just died
            operation = running.ask("upgrade")["operation"]
            if number:
                time.sleep(chance.uniform(0, 0.5))
                os.kill(victim, signal.SIGKILL)
            wait_done(running, operation)
            until(partial(running.replaced, "web-0", victim))
            assert answering(address) in pids(running).values()
        assert running.row("web-1")["restarts"] == 0
        found = running.ask("describe", name="web-0")["instances"][0]
        assert found["restarts"] == 6
        assert [cause["cause"] for cause in found["causes"]] == ["SIGKILL"] * 6


def has_said_more(running: Cluster, lines: int) -> bool:
    return running.log("talk").count("\n") > lines


def test_no_line_of_output_is_lost(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("talk", "count")]) as running:
        running.wait_ready()
        for _ in range(3):
            until(partial(has_said_more, running, running.log("talk").count("\n") + 100))
            upgraded(running)
        assert running.stop() == 0
        lines = [line.rpartition("| ")[2] for line in running.log("talk").splitlines()]
        assert lines == [str(number) for number in range(len(lines))]


def test_everything_that_is_known_is_known_afterwards(tmp_path: Path) -> None:
    foreign: dict[str, Any] = {"name": "tool", "kind": "python", "directory": str(tmp_path)}
    echo = tmp_path / "echo.py"
    echo.write_text("import sys\nfor line in sys.stdin: print('got', line, end='', flush=True)\n")
    foreign |= {"target": str(echo), "environment": {"WORD": "kept"}}
    broken = role("broken", "crash", max_restarts=0)
    with cluster(tmp_path, [role("venue", "idle")]) as running:
        running.wait_ready()
        assert running.operate("start", application=foreign)["state"] == "done"
        assert running.operate("start", application=role("rest", "idle"))["state"] == "done"
        assert running.operate("stop", name="rest")["state"] == "done"
        assert running.operate("start", application=broken)["state"] == "failed"
        until(lambda: running.row("broken")["tail"])
        assert running.operate("reload", name="tool")["state"] == "done"
        shown = known(running)
        upgraded(running)
        assert known(running) == shown
        assert running.ask("send", name="tool", text="hello\n") == {"sent": ["tool-0"]}
        until(lambda: "got hello" in running.log("tool"))
        assert running.operate("reload", name="tool")["state"] == "done"
        assert running.row("tool-0")["generation"] == 3
        assert running.operate("start", name="rest")["state"] == "done"
        assert running.operate("scale", name="tool", instances="3")["state"] == "done"
        upgraded(running)
        assert running.operate("scale", name="tool", instances="1")["state"] == "done"
        assert running.operate("delete", name="broken")["state"] == "done"
        assert running.ask("tail", name="tool", lines=5)["name"] == "tool-0"


def known(running: Cluster) -> dict[str, Any]:
    """Return what the operator is shown, without what is measured."""
    measured = {"uptime_s", "rss", "cpu_percent", "loop_lag_ms"}
    found = running.ask("ls")
    rows = [{k: v for k, v in row.items() if k not in measured} for row in found["rows"]]
    names = [application["name"] for application in found["applications"]]
    settings = [running.ask("describe", name=name)["settings"] for name in names]
    operations = [o for o in found["operations"] if o["kind"] != "upgrade"]
    return {
        "rows": rows, "applications": found["applications"], "settings": settings,
        "operations": operations, "dump": running.ask("dump"),
    }  # fmt: skip


def test_a_question_that_was_half_asked_is_answered(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "idle")]) as running:
        running.wait_ready()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(running.runtime / "control.sock"))
            client.sendall(b'{"comm')
            upgraded(running)
            client.sendall(b'and": "ls"}\n')
            client.settimeout(10)
            assert json.loads(client.recv(1 << 20))["supervisor"] == running.process.pid


def test_a_stop_in_the_middle_of_it_stops_everything(tmp_path: Path) -> None:
    for number, wait_s in enumerate((0.0, 0.1, 0.2, 0.3, 0.5)):
        (folder := tmp_path / str(number)).mkdir()
        with cluster(folder, [role("venue", "idle")]) as running:
            running.wait_ready()
            running.ask("upgrade")
            time.sleep(wait_s)
            assert running.stop() == 0


@pytest.mark.parametrize("moment", ["before", "between"])
def test_a_stop_at_the_worst_moment_is_not_lost(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    pause = f"import pathlib, time; pathlib.Path({str(here)!r}).touch(); time.sleep(0.5)"
    with own_copy(tmp_path, monkeypatch) as code:
        if moment == "before":  # the code that leaves has seen it only just before it leaves
            block = "        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)\n"
            edit(code / "cluster/supervisor.py", block, f"        {pause}\n{block}")
        with cluster(tmp_path, [role("web", "answer", ports=http())]) as running:
            running.wait_ready()
            if moment == "between":  # the code that comes does not yet look for it
                line = "        return run_supervisor(settings, lambda"
                edit(code / "cluster/foreground.py", line, f"        {pause}\n{line}")
            running.ask("upgrade")
            until(here.exists)
            assert running.stop() == 0
            assert "stopped gracefully" in running.log("web")


def test_a_child_that_dies_while_nobody_looks_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    pause = f"import pathlib, time; pathlib.Path({str(here)!r}).touch(); time.sleep(0.7)"
    with (
        own_copy(tmp_path, monkeypatch) as code,
        cluster(tmp_path, [role("web", "answer", instances=2, ports=http())]) as running,
    ):
        address = running.wait_ready()["http"]
        victim, other = running.pid("web-0"), running.pid("web-1")
        line = "        return run_supervisor(settings, lambda"
        edit(code / "cluster/foreground.py", line, f"        {pause}\n{line}")
        operation = running.ask("upgrade")["operation"]
        until(here.exists)
        os.kill(victim, signal.SIGKILL)
        wait_done(running, operation)
        until(partial(running.replaced, "web-0", victim))
        assert running.row("web-0")["last_exit"] == "SIGKILL"
        assert answering(address) in pids(running).values()
        assert running.pid("web-1") == other
        # Nobody was blamed for the silence of the supervisor itself.
        assert "stalled" not in running.log("madang")


def test_it_waits_for_a_child_that_is_about_to_be_born(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "slow.py").write_text("import time\ntime.sleep(1.5)\n")
    entry = role("web", "idle", directory=str(code))
    entry |= {"preload": ["slow"], "target": "tests.e2e.cluster_roles:idle"}
    with cluster(tmp_path, [entry]) as running:
        running.wait_ready()
        victim = running.pid("web")
        os.kill(running.helper("template"), signal.SIGKILL)
        os.kill(victim, signal.SIGKILL)
        until(lambda: running.row("web")["pid"] is None)
        upgraded(running)
        until(partial(running.replaced, "web", victim))
        assert running.row("web")["restarts"] == 1


TELLER = """
import os, socket, time
address = os.environ["NOTIFY_SOCKET"]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
    for number in range(10**6):
        text = f"READY=1\\nSTATUS=uid {os.getuid()} number {number}"
        end.sendto(text.encode(), "\\0" + address[1:] if address[0] == "@" else address)
        time.sleep(0.05)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_programs_of_another_user_are_heard_afterwards(tmp_path: Path) -> None:
    entry: dict[str, Any] = {
        "name": "tool",
        "kind": "command",
        "target": "/usr/bin/python3",
        "directory": "/",
    }
    entry |= {"arguments": ["-c", TELLER], "user": "nobody", "ready": "notify"}
    with cluster(tmp_path, [entry]) as running:
        running.wait_ready()
        before = pids(running)
        upgraded(running)
        said = running.row("tool-0")["status"]
        assert said.startswith("uid 65534 ")
        until(lambda: running.row("tool-0")["status"] not in ("", said))
        assert running.operate("scale", name="tool", instances="2")["state"] == "done"
        assert pids(running)["tool-0"] == before["tool-0"]


def test_a_hung_process_is_not_taken_for_one_that_came_back(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("web", "answer", instances=2, ports=http())]) as running:
        address = running.wait_ready()["http"]
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(b"hang\n")
            until(lambda: "stalled" in {row["state"] for row in running.ask("ls")["rows"]})
            hung = next(r["name"] for r in running.ask("ls")["rows"] if r["state"] == "stalled")
            upgraded(running)
            time.sleep(0.6)  # the new code has looked several times
            assert running.row(hung)["state"] == "stalled"
            _, _, afterwards = running.log("madang").partition("supervisor took over")
            assert '"instance"' not in afterwards
            other = next(name for name in pids(running) if name != hung)
            assert {answering(address) for _ in range(20)} == {running.pid(other)}


def test_it_is_refused_while_something_else_is_under_way(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("deaf", "deaf", stop_timeout_ms=1_500)]) as running:
        running.wait_ready()
        restart = running.ask("restart", name="deaf")["operation"]
        assert f"operation {restart} (restart deaf) runs" in running.try_ask("upgrade")["error"]
        wait_done(running, restart)
        operation = running.ask("upgrade")["operation"]
        assert f"operation {operation} (upgrade" in running.try_ask("reload", name="deaf")["error"]
        wait_done(running, operation)
