"""Death and hanging of single processes of a running cluster."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

from tests.e2e.cluster_harness import cluster, http, role, until

CLIENTS = 3
KILLS = 6
ANSWER_TIMEOUT_S = 10.0


def ask(address: tuple[str, int]) -> int:
    """Connect, ask, and return the pid that answered."""
    with socket.create_connection(address, timeout=ANSWER_TIMEOUT_S) as client:
        client.sendall(b"who\n")
        answer = client.recv(64)
        if not answer:
            raise ConnectionResetError("closed without an answer")
        return int(answer)


def test_no_connection_is_refused_while_workers_are_killed(tmp_path: Path) -> None:
    failures: list[str] = []
    served = [0] * CLIENTS
    done = threading.Event()

    def stream(index: int) -> None:
        while not done.is_set():
            try:
                ask(address)
                served[index] += 1
            except (ConnectionResetError, BrokenPipeError):
                failures.append("cut")
            except OSError as error:
                failures.append(repr(error))

    with cluster(tmp_path, [role("worker", "answer", instances=2, ports=http())]) as running:
        address = running.wait_ready()["http"]
        threads = [threading.Thread(target=stream, args=(index,)) for index in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for number in range(KILLS):
            before = sum(served)
            until(lambda before=before: sum(served) > before + 100)  # type: ignore[misc]
            name = f"worker-{number % 2}"
            pid = running.kill(name)
            until(lambda name=name, pid=pid: running.replaced(name, pid))  # type: ignore[misc]
        done.set()
        for thread in threads:
            thread.join()
        # Only what a killed process had already accepted may be cut; nothing waits or is refused.
        assert set(failures) <= {"cut"}
        assert len(failures) <= KILLS * CLIENTS
        assert sum(served) > KILLS * 100
        assert {running.row(f"worker-{slot}")["restarts"] for slot in (0, 1)} == {KILLS // 2}


def test_new_connections_reach_every_ready_worker(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("worker", "answer", instances=3, ports=http())]) as running:
        address = running.wait_ready()["http"]
        counts: dict[int, int] = {}
        for _ in range(600):
            pid = ask(address)
            counts[pid] = counts.get(pid, 0) + 1
        assert set(counts) == {running.pid(f"worker-{slot}") for slot in range(3)}
        assert min(counts.values()) > 120


def test_a_hung_worker_is_bypassed_then_ended_with_its_stack_in_the_log(tmp_path: Path) -> None:
    watchdog = {"heartbeat_ms": 100, "stall_ms": 600, "abort_ms": 4_000, "kill_ms": 1_000}
    roles = [role("worker", "answer", instances=2, ports=http())]
    with cluster(tmp_path, roles, watchdog=watchdog) as running:
        address = running.wait_ready()["http"]
        with socket.create_connection(address) as client:
            client.sendall(b"hang\n")
            until(lambda: "hanging" in running.log("worker"))
            waiting = [socket.create_connection(address, timeout=3) for _ in range(24)]
            answers = []
            for other in waiting:
                with other:
                    other.sendall(b"who\n")
                    answers.append(int(other.recv(64)))
            states = {running.row(f"worker-{slot}")["state"]: slot for slot in (0, 1)}
            assert set(states) == {"stalled", "ready"}
            hung = running.pid(f"worker-{states['stalled']}")
            assert set(answers) == {running.pid(f"worker-{states['ready']}")}
            assert {ask(address) for _ in range(20)} == set(answers)
            name = f"worker-{states['stalled']}"
            until(lambda: running.replaced(name, hung))
        assert running.row(name)["last_exit"] == "hung: no heartbeat for 4000 ms (SIGABRT)"
        until(lambda: "in reply" in running.log("worker"))
        until(lambda: "Fatal Python error: Aborted" in running.log("worker"))
        until(
            lambda: (
                {ask(address) for _ in range(20)} == {running.pid(f"worker-{s}") for s in (0, 1)}
            )
        )


def test_a_stopped_process_is_killed_and_replaced(tmp_path: Path) -> None:
    watchdog = {"heartbeat_ms": 50, "stall_ms": 200, "abort_ms": 500, "kill_ms": 200}
    with cluster(tmp_path, [role("venue", "idle")], watchdog=watchdog) as running:
        running.wait_ready()
        pid = running.pid("venue")
        os.kill(pid, signal.SIGSTOP)
        until(lambda: running.replaced("venue", pid))
        assert running.row("venue")["last_exit"] == "hung: no heartbeat for 500 ms (SIGKILL)"


def test_a_child_that_keeps_dying_is_errored_with_its_last_words(tmp_path: Path) -> None:
    roles = [role("venue", "idle"), role("worker", "crash_later")]
    restart = {"max_restarts": 3, "backoff_ms": 20}
    with cluster(tmp_path, roles, restart=restart) as running:
        running.wait_ready()
        running.kill("worker")
        until(lambda: running.row("worker")["tail"])
        row = running.row("worker")
        assert (row["state"], row["last_exit"], row["pid"]) == ("errored", "exit 7", None)
        assert row["tail"][-1] == "the disk is on fire"
        assert row["restarts"] == 3
        assert running.row("venue")["state"] == "ready"


def test_a_child_that_is_never_ready_is_ended_after_its_limit(tmp_path: Path) -> None:
    roles = [role("venue", "never_ready", start_timeout_ms=300)]
    with cluster(tmp_path, roles, restart={"max_restarts": 0}) as running:
        assert running.process.wait(20) == 3
        assert "not ready after 300 ms (SIGABRT)" in running.log("madang")


def test_the_death_of_the_template_hurts_nobody_and_the_next_one_forks(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "idle")]) as running:
        running.wait_ready()
        pid, template = running.pid("venue"), running.helper("template")
        os.kill(template, signal.SIGKILL)
        until(lambda: template not in running.living())
        assert running.pid("venue") == pid
        running.kill("venue")
        until(lambda: running.replaced("venue", pid))


def test_where_forking_is_not_safe_children_are_started_by_exec(tmp_path: Path) -> None:
    roles = [role("venue", "report", preload=["tests.e2e.cluster_threads"], ports=http())]
    with cluster(tmp_path, roles) as running:
        running.wait_ready()
        until(lambda: "cannot fork" in running.log("madang"))
        until(lambda: "2 threads" in running.log("madang"))
        assert running.row("venue-0")["status"].startswith("1,http [] threads=1")
        pid = running.kill("venue-0")
        until(lambda: running.replaced("venue-0", pid))


def test_a_preload_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    roles = [role("venue", "idle", preload=["no.such.module"])]
    with cluster(tmp_path, roles) as running:
        running.wait_ready()
        until(lambda: "cannot import no.such.module" in running.log("madang"))


def test_a_supervisor_that_was_held_up_blames_nobody(tmp_path: Path) -> None:
    watchdog = {"heartbeat_ms": 50, "stall_ms": 200, "abort_ms": 400, "kill_ms": 200}
    with cluster(tmp_path, [role("venue", "idle")], watchdog=watchdog) as running:
        running.wait_ready()
        pid = running.pid("venue")
        os.kill(running.process.pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGSTOP)
        threading.Event().wait(1.2)
        os.kill(running.process.pid, signal.SIGCONT)
        until(lambda: "the supervisor was held up" in running.log("madang"))
        os.kill(pid, signal.SIGCONT)
        until(lambda: running.row("venue")["state"] == "ready")
        assert (running.pid("venue"), running.row("venue")["restarts"]) == (pid, 0)
