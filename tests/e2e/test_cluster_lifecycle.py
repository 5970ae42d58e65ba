"""Start, stop and death of a whole cluster, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from madang.cluster.control import request
from madang.cluster.errors import NotRunning
from tests.e2e.cluster_harness import ROOT, cluster, http, role, until

SUPERVISOR_BYTES_MAX = 25 * 1024 * 1024


def test_a_stop_ends_every_process_and_removes_every_file(tmp_path: Path) -> None:
    roles = [role("venue", "idle"), role("worker", "answer", instances=2, ports=http())]
    with cluster(tmp_path, roles) as running:
        running.wait_ready()
        assert running.stop() == 0
        assert running.living() == []
        assert not (tmp_path / "run").exists()
        assert [path.name for path in (tmp_path / "state").iterdir()] == ["logs"]
        with pytest.raises(NotRunning):
            request(tmp_path / "run" / "control.sock", {"command": "ls"})


def test_workers_have_ended_before_the_venue_is_asked_to_stop(tmp_path: Path) -> None:
    roles = [role("venue", "idle"), role("worker", "answer", instances=2, ports=http())]
    with cluster(tmp_path, roles) as running:
        running.wait_ready()
        running.stop()
        lines = [json.loads(line.split(" | ")[1]) for line in running.log("madang").splitlines()]
        changes = [(line["name"], line["state"]) for line in lines if line["event"] == "instance"]
        asked = changes.index(("venue", "stopping"))
        assert changes.index(("worker-0", "stopped")) < asked
        assert changes.index(("worker-1", "stopped")) < asked
        assert running.log("worker").count("stopped gracefully") == 2


def test_ls_tells_what_runs_and_the_supervisor_is_small(tmp_path: Path) -> None:
    roles = [role("venue", "report", options={"a": 1}), role("worker", "report", ports=http())]
    with cluster(tmp_path, roles) as running:
        running.wait_ready()
        answer = running.ask("ls")
        parent = running.process.pid
        assert answer["rss"] < SUPERVISOR_BYTES_MAX
        assert [row["name"] for row in answer["rows"]] == ["venue", "worker-0"]
        assert {row["state"] for row in answer["rows"]} == {"ready"}
        assert running.row("venue")["status"] == f"0, ['a'] threads=1 parent={parent}"
        assert running.row("worker-0")["status"] == f"1,http [] threads=1 parent={parent}"


def command(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the `madang` command in `folder`; return exit code, output and errors."""
    code = "from madang.cli.cluster_commands import ls, stop; import typer; app = typer.Typer(); "
    code += "app.command()(ls); app.command()(stop); app()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Return a folder whose path leaves room for the names of sockets."""
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        yield Path(folder)


def test_the_commands_say_by_exit_code_whether_anything_runs(short_folder: Path) -> None:
    with cluster(
        short_folder, [role("venue", "idle")], runtime_dir=str(short_folder / "state" / "run")
    ) as running:
        running.wait_ready()
        code, output, _ = command(short_folder, "ls", "--state", "state", "--json")
        assert code == 0
        assert json.loads(output)["supervisor"] == running.process.pid
        code, output, _ = command(short_folder, "ls", "--state", "state")
        assert code == 0
        assert output.splitlines()[1].split()[:3] == ["venue", "ready", str(running.pid("venue"))]
        code, output, _ = command(short_folder, "stop", "--state", "state", "--json")
        assert (code, json.loads(output)["supervisor"]) == (0, running.process.pid)
        assert running.process.wait(5) == 0
        code, output, errors = command(short_folder, "ls", "--state", "state")
        assert (code, output) == (3, "")
        assert "no Madang runs here" in errors


def test_without_a_state_folder_the_commands_find_settings_and_demo(short_folder: Path) -> None:
    (short_folder / "madang.toml").write_text('[cluster]\nstate_dir = "elsewhere"\n')
    code, _, errors = command(short_folder, "ls")
    assert (code, str(short_folder / "elsewhere" / "run") in errors) == (3, True)
    demo = short_folder / ".madang" / "demo"
    demo.mkdir(parents=True)
    with cluster(demo, [role("venue", "idle")], state_dir=str(demo)) as running:
        running.wait_ready()
        assert command(short_folder, "ls")[0] == 0
        assert command(short_folder, "stop")[0] == 0
        assert running.process.wait(5) == 0


def test_a_child_that_ignores_sigterm_is_killed_after_its_limit(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "deaf", stop_timeout_ms=400)]) as running:
        running.wait_ready()
        assert running.stop() == 0
        assert "did not stop in 400 ms (SIGKILL)" in running.log("madang")


def test_a_second_signal_does_not_wait_for_a_deaf_child(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "deaf", stop_timeout_ms=600_000)]) as running:
        running.wait_ready()
        running.process.send_signal(signal.SIGINT)
        until(lambda: running.row("venue")["state"] == "stopping")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0


def test_what_a_child_started_ends_with_it_even_what_left_its_group(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    roles = [role("venue", "parent", options={"file": str(file)})]
    with cluster(tmp_path, roles) as running:
        running.wait_ready()
        near, far = (int(word) for word in file.read_text().split())
        pid = running.kill("venue")
        until(lambda: running.replaced("venue", pid))
        until(lambda: not {near, far} & set(running.living()))
        assert len(file.read_text().split()) == 2  # those of the successor live
        assert {int(word) for word in file.read_text().split()} <= set(running.living())
        assert running.stop() == 0
        assert running.living() == []


@pytest.mark.parametrize("victim", ["idle", "deaf", "parent", "busy"])
def test_no_child_outlives_a_killed_supervisor(tmp_path: Path, victim: str) -> None:
    options = {"file": str(tmp_path / "pids")}
    with cluster(tmp_path, [role("venue", victim, options=options)]) as running:
        running.wait_ready()
        running.process.kill()
        running.process.wait()
        until(lambda: running.living() == [], limit_s=5)


def test_no_child_outlives_supervisor_and_logger_dying_together(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "deaf")]) as running:
        running.wait_ready()
        logger = running.helper("logger")
        running.process.send_signal(signal.SIGSTOP)
        os.kill(logger, signal.SIGKILL)
        running.process.kill()
        running.process.wait()
        until(lambda: running.living() == [], limit_s=5)


def test_the_next_start_ends_what_a_killed_supervisor_left(tmp_path: Path) -> None:
    roles = [role("venue", "deaf", stop_timeout_ms=300)]
    with cluster(tmp_path, roles) as first:
        first.wait_ready()
        left = first.pid("venue")
        os.kill(first.helper("logger"), signal.SIGSTOP)
        logger = first.helper("logger")
        first.process.kill()
        first.process.wait()
        assert left in first.living()
        with cluster(tmp_path, roles) as second:
            second.wait_ready()
            assert left not in first.living()
            told = f'ended leftovers of an earlier supervisor", "groups": [{left}]'
            until(lambda: told in second.log("madang"))
            assert second.row("venue")["state"] == "ready"
            os.kill(logger, signal.SIGCONT)
            until(lambda: first.living() == [])
            assert second.row("venue")["restarts"] == 0


def test_a_second_supervisor_on_the_folder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "idle")]) as first:
        first.wait_ready()
        with cluster(tmp_path, [role("venue", "idle")]) as second:
            assert second.process.wait(20) == 1
        text = f"held by another running supervisor (pid {first.process.pid})"
        assert text in first.terminal.read_text()
        assert first.row("venue")["state"] == "ready"


def test_a_port_that_somebody_has_is_refused_by_name(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    with cluster(one, [role("worker", "answer", ports=http())]) as first:
        port = first.wait_ready()["http"][1]
        with cluster(two, [role("worker", "answer", ports=http(port))]) as second:
            assert second.process.wait(20) == 1
            assert f"cannot listen on 127.0.0.1:{port}" in second.terminal.read_text()


def test_an_application_that_cannot_start_ends_the_start_with_its_reason(tmp_path: Path) -> None:
    roles = [role("venue", "idle"), role("worker", "crash")]
    with cluster(tmp_path, roles, restart={"max_restarts": 1}) as running:
        assert running.process.wait(20) == 3
        assert "the disk is on fire" in running.terminal.read_text()
        assert '"cannot start: stopping", "failed": ["worker"]' in running.terminal.read_text()


def test_a_signal_before_everything_is_ready_stops_the_start(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "never_ready")]) as running:
        until(lambda: '"supervisor started"' in running.log("madang"))
        assert running.stop() == 0
