"""Applications of every kind, added, changed and taken away while the cluster runs."""

from __future__ import annotations

import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from madang.cluster.errors import ControlRefused
from tests.e2e.cluster_harness import ROOT, Cluster, cluster, http, role, until

PROGRAM = str(ROOT / "tests" / "e2e" / "cluster_foreign.py")


def web(folder: Path, **more: object) -> dict[str, object]:
    """Describe the foreign program as an application."""
    base: dict[str, object] = {"name": "web", "kind": "python", "target": PROGRAM}
    base["ready"] = "notify"
    return {**base, "ports": http(), "stop_signal": "SIGUSR2", "directory": str(folder), **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def address(running: Cluster, name: str = "web") -> str:
    found = {a["name"]: a["addresses"] for a in running.ask("ls")["applications"]}
    return str(found[name]["http"])


def get(place: str) -> dict[str, str]:
    with urllib.request.urlopen(f"http://{place}/", timeout=5) as response:
        lines = response.read().decode().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def states(running: Cluster, name: str) -> list[str]:
    return [row["state"] for row in running.ask("ls")["rows"] if row["app"] == name]


def test_a_program_of_any_kind_gets_sockets_environment_and_directory(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "idle")]) as running:
        running.wait_ready()
        entry = web(tmp_path, instances=2, environment={"GREETING": "hi"}, arguments=["--loud"])
        done = running.operate("start", application=entry)
        assert done["state"] == "done"
        assert states(running, "web") == ["ready", "ready"]
        assert running.row("web-1")["status"] == "serving"
        seen = [get(address(running)) for _ in range(30)]
        assert {found["MADANG_NAME"] for found in seen} == {"web-0", "web-1"}
        found = seen[0]
        assert (found["GREETING"], found["cwd"], "--loud" in found) == ("hi", str(tmp_path), True)
        assert found["LISTEN_FDNAMES"] == "http"
        assert found["MADANG_RUNTIME_DIR"] == str(running.runtime)
        assert address(running).endswith(f":{found['PORT']}")
        pid = running.kill("web-0")
        until(lambda: running.replaced("web-0", pid))


def test_a_command_is_ready_when_it_is_started_or_its_health_url_answers(tmp_path: Path) -> None:
    with cluster(tmp_path, []) as running:
        running.wait_ready()
        sleep: dict[str, object] = {"name": "sleep", "kind": "command", "target": "sleep"}
        sleep |= {"arguments": ["600"], "ready": "started", "instances": 2}
        assert running.operate("start", application=sleep)["state"] == "done"
        assert states(running, "sleep") == ["ready", "ready"]
        port = free_port()
        entry = web(tmp_path, kind="command", target=sys.executable)
        entry |= {"arguments": [PROGRAM, "--silent"], "ready": "http://127.0.0.1:{port}/health"}
        entry["ports"] = [{**http(port)[0], "inherit": False}]
        assert running.operate("start", application=entry)["state"] == "done"
        assert get(f"127.0.0.1:{port}")["MADANG_INSTANCE"] == "0"
        assert get(f"127.0.0.1:{port}")["LISTEN_FDNAMES"] == "-"


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    with cluster(tmp_path, [], restart={"max_restarts": 1, "backoff_ms": 10}) as running:
        running.wait_ready()
        entry = {"name": "gone", "kind": "command", "target": "/no/such/program"}
        done = running.operate("start", application={**entry, "ready": "started"})
        assert done["state"] in ("failed", "done")  # it had started when it failed to
        until(lambda: states(running, "gone") == ["errored"])
        tail = running.ask("tail", name="gone-0")["lines"]
        assert "cannot start /no/such/program: No such file or directory" in tail[-1]
        assert running.row("gone-0")["last_exit"] == "exit 127"
        with pytest.raises(ControlRefused, match=r"no command.* known are"):
            running.ask("no command")
        with pytest.raises(ControlRefused, match=r"applications\.x\.kind: expected one of role"):
            running.ask("start", application={"name": "x", "target": "y", "kind": "z"})
        with pytest.raises(ControlRefused, match="there is an application 'gone' already"):
            running.ask("start", application=entry)


def test_text_reaches_the_input_and_signals_reach_the_process(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "idle"), web(tmp_path)]) as running:
        running.wait_ready()
        assert running.ask("send", name="web-0", text="hello\n") == {"sent": ["web-0"]}
        until(lambda: "heard hello" in running.log("web"))
        until(lambda: running.ask("tail", name="web-0")["lines"][-1] == "heard hello")
        with pytest.raises(ControlRefused, match="venue reads no input"):
            running.ask("send", name="venue", text="x")
        pid = running.pid("web-0")
        assert running.ask("signal", name="web", signal="usr2") == {"pids": [pid]}
        until(lambda: running.replaced("web-0", pid))
        running.ask("send", name="web-0", text="die\n")
        until(lambda: running.row("web-0")["last_exit"] == "exit 9")
        causes = running.ask("describe", name="web-0")["instances"][0]["causes"]
        assert [cause["cause"] for cause in causes] == ["exit 0", "exit 9"]


def test_stop_start_and_delete_leave_nothing_behind(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "idle")]) as running:
        running.wait_ready()
        running.operate("start", application=web(tmp_path, instances=2))
        place = address(running)
        assert running.operate("stop", name="web-1")["state"] == "done"
        assert states(running, "web") == ["ready", "stopped"]
        assert {get(place)["MADANG_NAME"] for _ in range(8)} == {"web-0"}
        assert running.operate("stop", name="web")["state"] == "done"
        assert states(running, "web") == ["stopped", "stopped"]
        with pytest.raises(OSError, match="refused"):
            get(place)
        assert running.operate("start", name="web")["state"] == "done"
        assert address(running) == place
        assert get(place)["MADANG_NAME"].startswith("web-")
        assert running.operate("delete", name="web")["state"] == "done"
        assert [row["name"] for row in running.ask("ls")["rows"]] == ["venue"]
        with pytest.raises(OSError, match="refused"):
            get(place)
        assert running.operate("start", application=web(tmp_path))["state"] == "done"


def test_scaling_opens_and_drains_sockets_and_refuses_nobody(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("worker", "answer", instances=2, ports=http())]) as running:
        running.wait_ready()
        place = running.ask("ls")["applications"][0]["addresses"]["http"].rpartition(":")
        target = (place[0], int(place[2]))

        def ask() -> str:
            with socket.create_connection(target, timeout=5) as client:
                client.sendall(b"who\n")
                return client.recv(64).decode()

        for word, count in (("4", 4), ("-3", 1), ("+1", 2)):
            running.ask("scale", name="worker", instances=word)
            operation = running.ask("ls")["operations"][-1]
            while running.ask("operation", id=operation["id"])["state"] == "running":
                assert ask().isdigit()
            assert running.ask("operation", id=operation["id"])["state"] == "done"
            assert states(running, "worker") == ["ready"] * count
            pids = {str(row["pid"]) for row in running.ask("ls")["rows"]}
            until(lambda pids=pids: {ask() for _ in range(20)} == pids)  # type: ignore[misc]


def test_a_hundred_scale_commands_end_at_the_last(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("worker", "answer", instances=1, ports=http())]) as running:
        running.wait_ready()
        for number in range(100):
            running.ask("scale", name="worker", instances=str(1 + number * 7 % 5))
        last = running.operate("scale", name="worker", instances="2")
        assert last["state"] == "done"
        assert states(running, "worker") == ["ready", "ready"]


def test_a_restart_is_staggered_and_stops_at_the_first_that_does_not_come_back(
    tmp_path: Path,
) -> None:
    flag = tmp_path / "flag"
    options = {"file": str(flag)}
    entry = role("worker", "fail_if", instances=2, ports=http(), options=options)
    with cluster(tmp_path, [entry], restart={"max_restarts": 1, "backoff_ms": 10}) as running:
        running.wait_ready()
        before = [running.pid(f"worker-{slot}") for slot in (0, 1)]
        assert running.operate("restart", name="all")["state"] == "done"
        after = [running.pid(f"worker-{slot}") for slot in (0, 1)]
        assert not set(before) & set(after)
        flag.write_text("")
        done = running.operate("restart", name="worker")
        assert done["state"] == "failed"
        assert done["reason"].startswith("worker-0 ended: exit 7")
        assert "the flag is up" in done["reason"]
        assert running.pid("worker-1") == after[1]


def test_leftovers_of_foreign_programs_are_ended_too(tmp_path: Path) -> None:
    entry = {"name": "deaf", "kind": "command", "target": "sh", "ready": "started"}
    entry["arguments"] = ["-c", "trap '' TERM; sleep 600"]  # type: ignore[assignment]
    with cluster(tmp_path, [entry]) as running:
        running.wait_ready()
        until(lambda: len(running.living()) >= 4)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        until(lambda: running.living() == [], limit_s=5)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_program_runs_as_the_user_that_was_asked_for(tmp_path: Path) -> None:
    command: dict[str, Any] = {"name": "who", "kind": "command", "target": "sh", "user": "nobody"}
    command |= {"arguments": ["-c", "id -un; exec sleep 600"], "ready": "started"}
    with cluster(tmp_path, [{**command, "directory": "/"}]) as running:
        running.wait_ready()
        until(lambda: "| nobody" in running.log("who"))
