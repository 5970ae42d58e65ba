"""Merging what processes tell of themselves into one page, over the in-memory bus."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from madang.bus import memory_bus_hub
from madang.cluster.scoreboard import Scores
from madang.edge.gathering import Gatherer, Teller, Told, merge
from madang.edge.route import Metric
from tests.support.edge import eventually, run
from tests.support.metrics import samples, total


@dataclass
class Process:
    runtime_dir: Path
    generation: int = 1
    scores: Scores = field(default_factory=Scores)


def counter(value: float, **labels: str) -> Metric:
    return Metric("jobs_total", "counter", "Jobs.", ((labels, value),))


def test_numbers_carry_their_process_and_shared_ones_are_taken_once() -> None:
    shared = Metric("listeners", "gauge", "All.", (({}, 7.0),), shared=True)
    found = merge(
        [
            ("a-0", Told(1, [counter(1, kind="x"), shared])),
            ("a-0.2", Told(2, [counter(2, kind="x"), shared])),
        ]
    )
    assert [family.name for family in found] == ["jobs_total", "listeners"]
    assert found[0].samples == (
        ({"kind": "x", "process": "a-0", "generation": "1"}, 1),
        ({"kind": "x", "process": "a-0", "generation": "2"}, 2),
    )
    assert found[1].samples == (({}, 7.0),)


def test_everybody_on_the_bus_is_asked_and_the_page_can_be_parsed(tmp_path: Path) -> None:
    async def main() -> None:
        hub = memory_bus_hub()
        first, second, silent = (hub.open(name) for name in ("web-0.17", "web-1.18", "script"))
        teller = Teller(second, Process(tmp_path), lambda: [counter(5, text='a"b\\c\nd')])
        mute = silent.serve("metrics.script", lambda requests: None)
        gatherer = Gatherer(first, Process(tmp_path), lambda: [counter(3)])
        for name in ("web-1.18", "script"):
            assert await first.wait_for_server(f"metrics.{name}", 5_000)
        await eventually(lambda: len(first.peers()) == 2)
        text = (await gatherer.page()).decode()
        assert list(text_string_to_metric_families(text))
        found = {s.labels["process"]: s.value for s in samples(text, "jobs_total")}
        assert found == {"web-0": 3, "web-1": 5}
        assert samples(text, "jobs_total")[1].labels["text"] == 'a"b\\c\nd'
        assert total(text, "madang_scrape_processes") == 2
        assert total(text, "madang_scrape_missing_processes") == 1, "who is silent is counted"
        assert total(text, "madang_scrape_supervisor_up") == 0
        assert await gatherer.page() is await gatherer.page(), "one page for who asks at once"
        mute.close()
        teller.close()
        for bus in (first, second, silent):
            await bus.close()

    run(main)


def test_a_scrape_that_is_given_up_does_not_end_that_of_another(tmp_path: Path) -> None:
    async def main() -> None:
        bus = memory_bus_hub().open("alone")
        gatherer = Gatherer(bus, Process(tmp_path), lambda: [counter(1)])
        impatient = asyncio.create_task(gatherer.page())
        patient = asyncio.create_task(gatherer.page())
        await asyncio.sleep(0)
        impatient.cancel()
        assert total((await patient).decode(), "jobs_total") == 1
        await bus.close()

    run(main)
