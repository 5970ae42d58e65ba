"""Replacement by itself: at a time that was set, and after an age. Nobody who connects notices."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster_harness import Cluster, cluster, role, until
from tests.e2e.test_cluster_reload import WATCH_MS, Load, deployed, once, write_version
from tests.e2e.test_cluster_upgrade import edit, own_copy, wait_done

EVERY_TWO_SECONDS = "*/2 * * * * *"


def operations(running: Cluster, kind: str) -> list[dict[str, Any]]:
    return [o for o in running.ask("ls")["operations"] if o["kind"] == kind]


def test_a_schedule_brings_the_new_code_in_and_nobody_notices(tmp_path: Path) -> None:
    with (
        deployed(tmp_path, restart_schedule=EVERY_TWO_SECONDS, watch_ms=200) as (running, address),
        Load(address) as load,
    ):
        write_version(tmp_path / "code", "VERSION = 'two'")
        until(lambda: "two" in load.versions)
        until(lambda: len(operations(running, "reload")) >= 2)
        first = operations(running, "reload")[0]
        assert first["name"] == "web"
        assert first["steps"][0]["text"] == f"schedule {EVERY_TWO_SECONDS}"
        assert first["state"] == "done"
        assert load.failures == []
        assert running.row("web-0")["generation"] > 1


def test_a_schedule_is_kept_where_its_time_comes_during_an_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    due_s = time.time() + 6
    seconds = time.localtime(due_s).tm_sec
    entry = role("web", "idle", restart_schedule=f"{seconds} * * * * *", watch_ms=100)
    with own_copy(tmp_path, monkeypatch) as code, cluster(tmp_path, [entry]) as running:
        running.wait_ready()
        time.sleep(max(0, due_s - 2.5 - time.time()))  # it looks at schedules once a second
        line = "        return run_supervisor(settings, lambda"
        edit(code / "cluster/foreground.py", line, f"        import time; time.sleep(4)\n{line}")
        operation = running.ask("upgrade")["operation"]
        wait_done(running, operation)
        assert time.time() > due_s
        until(lambda: [o["state"] for o in operations(running, "reload")] == ["done"], 10)


def test_the_old_are_replaced_one_after_the_other_by_the_same_code(tmp_path: Path) -> None:
    with (
        deployed(tmp_path, age_max_s=2, watch_ms=WATCH_MS) as (running, address),
        Load(address) as load,
    ):
        write_version(tmp_path / "code", "VERSION = 'two'")
        before = {row["name"]: row["pid"] for row in running.ask("ls")["rows"]}

        def replaced() -> bool:
            found = running.ask("ls")
            assert found["applications"][0]["ready"] == 2
            serving = {row["name"]: row["pid"] for row in found["rows"] if row["accepting"]}
            return all(serving.get(name) != pid for name, pid in before.items())

        until(replaced)
        done = [o for o in operations(running, "replace") if o["state"] == "done"]
        assert {o["name"] for o in done} <= {"web-0", "web-1"}
        assert "over 2 s" in done[0]["steps"][0]["text"]
        assert load.failures == []
        assert load.versions == {"one"}
        assert once(address) == "one"
