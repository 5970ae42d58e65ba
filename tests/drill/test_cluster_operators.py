"""What operators and fate do to a supervisor: a thousand commands, two at once, a sudden death.

MADANG_SEED repeats a run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.drill.cluster import asgi, drilled, explains, load, program, role, screen, seeded
from tests.drill.test_cluster_deploys import GOOD
from tests.drill.test_cluster_output import SUPERVISOR_BYTES_MAX, resident
from tests.e2e.cluster_harness import until

COMMANDS = 1_000
INSTANCES_MAX = 5
DESCRIPTORS_MORE_MAX = 16
RIVALS = 4
ROUNDS = 2
ORPHAN_LIMIT_S = 5.0


def test_a_thousand_scale_commands_end_where_the_last_one_says(tmp_path: Path) -> None:
    chooser = seeded()
    with drilled(tmp_path, [asgi(tmp_path / "site", GOOD)]) as running:
        port = running.wait_ready()["http"][1]
        before = len(os.listdir(f"/proc/{running.process.pid}/fd"))
        with load(port) as offered:
            refused = 0
            for _ in range(COMMANDS):
                word = chooser.choice(["+1", "-1", *map(str, range(1, INSTANCES_MAX + 1))])
                answer = running.try_ask("scale", name="web", instances=word)
                if "error" in answer:
                    assert "expected 1 to" in answer["error"], answer
                    refused += 1
                time.sleep(chooser.choice((0.0, 0.0, 0.002, 0.02)))
            assert refused < COMMANDS / 2
            assert running.operate("scale", name="web", instances="2")["state"] == "done"
            explains(running, "web-0  ready", "web-1  ready")
        rows = running.ask("ls")["rows"]
        assert [(row["name"], row["state"]) for row in rows] == [
            ("web-0", "ready"),
            ("web-1", "ready"),
        ]
        assert len(os.listdir(f"/proc/{running.process.pid}/fd")) <= before + DESCRIPTORS_MORE_MAX
        assert resident(running.process.pid) < SUPERVISOR_BYTES_MAX
    assert offered.failures == []


def test_of_supervisors_that_start_together_one_serves_and_the_others_say_who(
    tmp_path: Path,
) -> None:
    for _ in range(ROUNDS):
        with ExitStack() as stack:
            rivals = [stack.enter_context(drilled(tmp_path, entries())) for _ in range(RIVALS)]
            until(lambda r=rivals: sum(one.process.poll() is None for one in r) == 1)  # type: ignore[misc]
            (winner,) = (one for one in rivals if one.process.poll() is None)
            assert [one.process.poll() for one in rivals].count(1) == RIVALS - 1
            winner.wait_ready()
            assert f"pid {winner.process.pid}" in winner.terminal.read_text()
            explains(winner, "calm", "ready")
            # The next round begins with what a killed supervisor leaves.
            winner.process.kill()
            winner.process.wait()


def entries() -> list[dict[str, object]]:
    """Describe one of each kind."""
    return [
        role("calm", "lie"),
        program("tree", "fork"),
        program("deaf", "deaf", stop_timeout_ms=300),
    ]


def test_nothing_outlives_a_killed_supervisor_and_the_next_start_serves(tmp_path: Path) -> None:
    chooser = seeded()
    applications = [asgi(tmp_path / "site", GOOD), *entries()]
    for _ in range(ROUNDS):
        with drilled(tmp_path, applications) as first:
            port = first.wait_ready()["http"][1]
            with load(port) as offered:
                time.sleep(chooser.uniform(0.1, 0.5))
                first.process.kill()
                first.process.wait()
                killed_s = time.monotonic()
                until(lambda f=first: not f.living(), ORPHAN_LIMIT_S)  # type: ignore[misc]
                assert time.monotonic() - killed_s < ORPHAN_LIMIT_S
            assert offered.answers > 0
            assert "no Madang runs here" in screen(first)
        with drilled(tmp_path, applications) as second:
            second.wait_ready()
            explains(second, "web-0", "calm", "tree-0", "deaf-0")
            assert {row["state"] for row in second.ask("ls")["rows"]} == {"ready"}
            assert {row["restarts"] for row in second.ask("ls")["rows"]} == {0}
            assert second.stop() == 0


def test_a_supervisor_is_refused_while_another_has_the_folder(tmp_path: Path) -> None:
    with drilled(tmp_path, [role("calm", "lie")]) as running:
        running.wait_ready()
        words = [sys.executable, "-m", "madang.cli.main", "start", "sleep.py", "--foreground"]
        (tmp_path / "sleep.py").write_text("import time; time.sleep(600)")
        done = subprocess.run(
            [*words, "--state", str(tmp_path / "state")],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert str(running.process.pid) in done.stdout + done.stderr
        explains(running, "calm", "ready")
