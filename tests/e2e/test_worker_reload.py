"""A deploy of the market's own workers: nobody is refused, and everybody is answered."""

from __future__ import annotations

import threading
from pathlib import Path

from madang.cli.settings import runtime_dir
from madang.cluster.control import request
from tests.e2e.cluster_harness import until
from tests.support.venue_fixture import running_venue


def test_orders_go_on_through_a_reload_of_the_workers(tmp_path: Path) -> None:
    with running_venue(tmp_path, "ann", workers=2) as venue:
        control = runtime_dir(venue.state) / "control.sock"

        def rows() -> dict[str, int]:
            found = request(control, {"command": "ls"})["rows"]
            assert isinstance(found, list)
            return {row["name"]: row["generation"] for row in found if row["app"] == "worker"}

        done = threading.Event()
        statuses: list[int] = []

        def trade() -> None:
            while not done.is_set():
                statuses.append(venue.call("ann", "GET", "/v2/account").status)

        thread = threading.Thread(target=trade)
        thread.start()
        try:
            until(lambda: len(statuses) > 5)
            for generation in (2, 3):
                number = request(control, {"command": "reload", "name": "worker"})["operation"]
                question = {"command": "operation", "id": number}
                until(lambda q=question: request(control, q)["state"] != "running")  # type: ignore[misc]
                found = request(control, question)
                assert (found["state"], found["reason"]) == ("done", "")
                assert rows() == {"worker-0": generation, "worker-1": generation}
                count = len(statuses)
                until(lambda count=count: len(statuses) > count + 5)  # type: ignore[misc]
        finally:
            done.set()
            thread.join()
        assert set(statuses) == {200}
        placed = venue.order(
            "ann", symbol="AAPL", side="buy", type="market", time_in_force="day", qty=1
        )
        assert placed
