"""`/metrics` of a whole machine: whichever worker is asked, over kills, reloads and silence."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from madang.cli.settings import runtime_dir
from madang.cluster.control import SOCKET_NAME, request
from tests.e2e.cluster_harness import Cluster, cluster, http, until
from tests.support.metrics import samples, total
from tests.support.running import ready_pids, wait_for
from tests.support.venue_fixture import Venue, running_venue

LIMIT_S = 20.0
PLATFORM = {"venue", "ledger", "feed", "worker-0", "worker-1"}
HELLO = """
async def app(scope, receive, send):
    status = int(scope["path"].strip("/") or 200)
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("metrics"), "ada", workers=2) as running:
        yield running


def page(venue: Venue) -> str:
    answer = venue.call(None, "GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.body.decode()


def test_the_page_is_valid_described_and_named_by_the_conventions(venue: Venue) -> None:
    families = list(text_string_to_metric_families(page(venue)))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family is in one place"
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert family.type in ("counter", "gauge"), family.name
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        assert not family.name.endswith(("_ms", "_us", "_percent")), "base units only"
        labelled = [(s.name, tuple(sorted(s.labels.items()))) for s in family.samples]
        assert len(labelled) == len(set(labelled)), family.name


def test_every_process_is_there_whichever_worker_answers(venue: Venue) -> None:
    def told() -> set[str]:
        found = samples(page(venue), "madang_bus_peers")
        return {sample.labels["process"] for sample in found}

    for _ in range(8):
        assert told() == PLATFORM
    assert {s.labels["process"] for s in samples(page(venue), "madang_process_state")} == PLATFORM


def test_requests_are_counted_by_class_and_over_deaths(venue: Venue) -> None:
    text = page(venue)
    before = total(text, "madang_responses_total", app="worker")
    missed = not_found(venue)
    for _ in range(20):
        assert venue.call(None, "GET", "/nowhere").status == 404

    def counted() -> float:
        return venue.metric("madang_responses_total", app="worker")

    # Each worker may give a page that it has made shortly before.
    wait_for(lambda: not_found(venue) >= missed + 20, LIMIT_S, "the refused requests")
    wait_for(lambda: counted() >= before + 20, LIMIT_S, "the sum of all classes")
    least = counted()
    killed = total(text, "madang_restarts_total", app="worker", cause="SIGKILL")
    venue.kill("worker")
    ready = {"app": "worker", "state": "ready"}
    wait_for(lambda: venue.metric("madang_instances", **ready) == 2, LIMIT_S, "both counted")
    text = page(venue)
    assert total(text, "madang_responses_total", app="worker") >= least, "the dead still count"
    assert total(text, "madang_restarts_total", app="worker", cause="SIGKILL") == killed + 2


def not_found(venue: Venue) -> float:
    return venue.metric("madang_responses_total", app="worker", **{"class": "4xx"})


def test_two_generations_are_told_apart_while_a_reload_lasts(venue: Venue) -> None:
    control = runtime_dir(venue.state) / SOCKET_NAME
    number = request(control, {"command": "reload", "name": "worker"})["operation"]
    both = False
    state: object = "running"
    while state == "running":
        found = [
            (sample.name, tuple(sorted(sample.labels.items())))
            for family in text_string_to_metric_families(page(venue))
            for sample in family.samples
        ]
        assert len(found) == len(set(found)), "no series is there twice"
        who = {tuple(labels) for name, labels in found if name == "madang_bus_peers"}
        both = both or len(who) == len(PLATFORM) + 2
        state = request(control, {"command": "operation", "id": number})["state"]
    assert (state, both) == ("done", True)


def test_who_does_not_answer_is_left_out_and_counted(venue: Venue) -> None:
    (feed,) = venue.pids("feed")
    os.kill(feed, signal.SIGSTOP)
    try:
        wait_for(
            lambda: venue.metric("madang_scrape_missing_processes") == 1, LIMIT_S, "one missing"
        )
        text = page(venue)
        assert total(text, "madang_scrape_duration_seconds") < 5
        named = {sample.labels["process"] for sample in samples(text, "madang_bus_peers")}
        assert named == PLATFORM - {"feed"}
    finally:
        os.kill(feed, signal.SIGCONT)
    wait_for(lambda: venue.metric("madang_scrape_missing_processes") == 0, LIMIT_S, "everybody")


def test_the_page_comes_without_a_supervisor_too(venue: Venue) -> None:
    supervisor = int(str(venue.process.pid))
    os.kill(supervisor, signal.SIGSTOP)
    try:
        wait_for(lambda: venue.metric("madang_scrape_supervisor_up") == 0, LIMIT_S, "no supervisor")
        text = page(venue)
        assert total(text, "madang_scrape_processes") == len(PLATFORM)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    wait_for(lambda: venue.metric("madang_scrape_supervisor_up") == 1, LIMIT_S, "the supervisor")
    wait_for(lambda: len(ready_pids(venue.state, "worker")) == 2, LIMIT_S, "the workers")


def entries(folder: Path) -> list[dict[str, object]]:
    (folder / "hello.py").write_text(HELLO)
    web: dict[str, object] = {"name": "web", "kind": "asgi", "target": "hello.py:app"}
    web |= {"directory": str(folder), "instances": 2, "ports": http()}
    port = {"name": "metrics", "host": "127.0.0.1", "port": 0}
    exporter: dict[str, object] = {
        "name": "metrics",
        "target": "madang.edge.exporter:main",
        "ports": [port],
    }
    return [web, exporter]


def fetch(address: str, path: str) -> tuple[int, str]:
    with closing(HTTPConnection(address, timeout=10)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read().decode()


def exported(running: Cluster) -> str:
    found = {row["name"]: row["addresses"] for row in running.ask("ls")["applications"]}
    return str(found["metrics"]["metrics"])


def test_an_ordinary_application_has_them_on_a_port_of_its_own(tmp_path: Path) -> None:
    with cluster(tmp_path, entries(tmp_path)) as running:
        host, port = running.wait_ready()["http"]
        for path, times in (("/200", 5), ("/302", 3), ("/404", 2), ("/500", 1)):
            for _ in range(times):
                fetch(f"{host}:{port}", path)
        metrics = exported(running)

        def counts() -> dict[str, float]:
            text = fetch(metrics, "/metrics")[1]
            found = samples(text, "madang_responses_total", app="web")
            return {sample.labels["class"]: sample.value for sample in found}

        wanted = {"2xx": 5.0, "3xx": 3.0, "4xx": 2.0, "5xx": 1.0}
        until(lambda: counts() == wanted)
        running.kill("web-0")
        until(lambda: ready(metrics) == 2)
        assert counts() == wanted
        status, text = fetch(metrics, "/metrics")
        assert status == 200
        told = {sample.labels["process"] for sample in samples(text, "madang_bus_peers")}
        assert told == {"web-0", "web-1", "metrics-0"}
        assert fetch(metrics, "/anything")[0] == 404


def ready(metrics: str) -> float:
    return total(fetch(metrics, "/metrics")[1], "madang_instances_ready", app="web")
