"""What is behind the page /cluster: who may, what it shows, what it does, what is recorded."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue
from tests.support.web import Browser

LIMIT_S = 30.0
PASSWORD = "correct horse battery"
ROUTES = (
    ("GET", "/web/cluster"),
    ("GET", "/web/cluster/audit"),
    ("GET", "/web/cluster/processes/worker"),
    ("GET", "/web/cluster/operations/1"),
    ("POST", "/web/cluster/operations"),
)
Frame = dict[str, Any]


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("console"), "ada", workers=2) as running:
        yield running


def person(venue: Venue, name: str, role: str) -> Browser:
    """Return the browser of a new person who is signed in."""
    venue.madang("account", "create", name, "--role", role)
    venue.madang("account", "password", name, typed=PASSWORD)
    browser = Browser(venue)
    wait_for(lambda: browser.sign_in(name, PASSWORD).status == 204, LIMIT_S, "signed in")
    return browser


@pytest.fixture(scope="module")
def boss(venue: Venue) -> Browser:
    return person(venue, "boss", "admin")


@pytest.fixture(scope="module")
def trader(venue: Venue) -> Browser:
    return person(venue, "trader", "trader")


def stream(browser: Browser, origin: str = "") -> ClientConnection:
    address = browser.venue.url.replace("http", "ws") + "/web/cluster/stream"
    return connect(
        address,
        additional_headers={"Cookie": browser.headers.get("Cookie", "")},
        origin=Origin(origin or browser.venue.url),
        close_timeout=1,
        max_size=None,
    )


def frame(socket: ClientConnection, kind: str, fits: Callable[[Frame], bool] = bool) -> Frame:
    """Return the first frame of a kind that fits."""
    limit = time.monotonic() + LIMIT_S
    while True:
        found: Frame = json.loads(socket.recv(max(0.1, limit - time.monotonic())))
        if found["type"] == kind and fits(found):
            return found


def begin(browser: Browser, kind: str, name: str, **more: str) -> Frame:
    body = {"kind": kind, "name": name, **more}
    answer = browser.call("POST", "/web/cluster/operations", body)
    assert answer.status == 202, answer.body
    return answer.json()


def audited(browser: Browser, id_: str) -> Frame:
    answer = browser.call("GET", "/web/cluster/audit")
    assert answer.status == 200
    return next((row for row in answer.rows() if row["id"] == id_), {})


def ended(browser: Browser, id_: str) -> Frame:
    """Return the record of an action once it has its last word."""
    found: list[Frame] = []

    def closed() -> bool:
        found.append(audited(browser, id_))
        return found[-1].get("ended") is not None

    wait_for(closed, LIMIT_S, "the last word")
    return found[-1]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_is_for_administrators(
    venue: Venue, boss: Browser, trader: Browser, method: str, path: str
) -> None:
    body = {"kind": "reload", "name": "feed"} if method == "POST" else None
    assert Browser(venue).call(method, path, body).status == 401
    assert trader.call(method, path, body).status == 403
    assert venue.call("ada", method, path, body).status == 403, "a trader's key neither"
    if method == "GET":
        assert boss.call(method, path).status in (200, 404)


def test_the_stream_is_for_administrators_and_own_pages(
    venue: Venue, boss: Browser, trader: Browser
) -> None:
    for browser, status in ((Browser(venue), 401), (trader, 403)):
        with pytest.raises(InvalidStatus) as refused:
            stream(browser)
        assert refused.value.response.status_code == status
    with pytest.raises(InvalidStatus) as refused:
        stream(boss, "http://elsewhere.test")
    assert refused.value.response.status_code == 403
    with stream(boss) as socket:
        assert frame(socket, "state")["supervisor"] == venue.process.pid


def test_another_sites_page_cannot_act(venue: Venue, boss: Browser) -> None:
    body = {"kind": "restart", "name": "all"}
    before = venue.pids("worker")
    answer = boss.call("POST", "/web/cluster/operations", body, **{"X-CSRF-Token": "0" * 32})
    assert answer.status == 403
    assert venue.pids("worker") == before


def test_the_state_has_every_process_with_its_numbers(venue: Venue, boss: Browser) -> None:
    with stream(boss) as socket:
        state = frame(socket, "state", lambda found: len(found["rows"]) == 5)
        rows = {row["name"]: row for row in state["rows"]}
        assert set(rows) == {"venue", "ledger", "feed", "worker-0", "worker-1"}
        assert all(row["state"] == "ready" and row["rss"] > 0 for row in rows.values())
        # This one, and whoever else looks at the moment.
        frame(socket, "state", lambda found: sum(row["websockets"] for row in found["rows"]) >= 1)
        history = frame(socket, "history", lambda found: found["next"] > 0)
        points = history["next"] - history["first"]
        assert len(history["applications"]["worker"]["connections"]) == points
        point = history["next"]
        more = frame(socket, "history")
        assert (more["first"], more["next"]) == (point, point + 1)
        assert len(more["applications"]["worker"]["lag_ms"]) == 1


def test_a_killed_process_is_seen_with_its_cause(venue: Venue, boss: Browser) -> None:
    with stream(boss) as socket:
        old = next(r for r in frame(socket, "state")["rows"] if r["name"] == "feed")
        os.kill(old["pid"], signal.SIGKILL)

        def replaced(found: Frame) -> bool:
            row = next(row for row in found["rows"] if row["name"] == "feed")
            return bool(row["state"] == "ready" and row["pid"] != old["pid"])

        state = frame(socket, "state", replaced)
        summary = next(a for a in state["applications"] if a["name"] == "feed")
        assert summary["restarts"] == {"SIGKILL": 1}
    described = boss.call("GET", "/web/cluster/processes/feed").json()
    (cause,) = described["instances"][0]["causes"]
    assert (cause["cause"], cause["pid"]) == ("SIGKILL", old["pid"])
    assert "settings" not in described, "options may hold secrets"


def test_the_output_is_live_and_filtered(venue: Venue, boss: Browser) -> None:
    with stream(boss) as socket:
        socket.send(json.dumps({"action": "logs", "names": ["venue"]}))
        whole = frame(socket, "logs")
        assert whole["whole"]
        assert {line["instance"] for line in whole["lines"]} == {"venue"}
        socket.send(json.dumps({"action": "logs", "names": [], "text": "OPERATION"}))
        assert frame(socket, "logs")["whole"]
        done = begin(boss, "scale", "worker", instances="2")
        wanted = f'"id": {done["operation"]}'
        fresh = frame(socket, "logs", lambda found: wanted in str(found["lines"]))
        assert not fresh["whole"]
        assert all("operation" in line["text"].casefold() for line in fresh["lines"])
        socket.send("nonsense")
        with pytest.raises(ConnectionClosed):
            frame(socket, "nothing")


def test_a_reload_of_the_workers_themselves_is_recorded_to_its_end(
    venue: Venue, boss: Browser
) -> None:
    before = set(venue.pids("worker"))
    begun = begin(boss, "reload", "worker")
    record = ended(boss, begun["id"])
    assert (record["who"], record["what"], record["name"]) == ("boss", "reload", "worker")
    assert (record["outcome"], record["peer"]) == ("done", "127.0.0.1")
    assert record["at"] < record["ended"] <= time.time()
    wait_for(lambda: len(venue.pids("worker")) == 2, LIMIT_S, "both workers")
    assert not before & set(venue.pids("worker")), "every process is another"
    steps = boss.call("GET", f"/web/cluster/operations/{begun['operation']}").json()["steps"]
    assert steps[-1]["text"] == "done"


def test_scaling_up_and_down_and_a_restart(venue: Venue, boss: Browser) -> None:
    for instances, count in (("+1", 3), ("2", 2)):
        assert ended(boss, begin(boss, "scale", "worker", instances=instances)["id"])
        wait_for(lambda wanted=count: len(venue.pids("worker")) == wanted, LIMIT_S, "scaled")  # type: ignore[misc]
    old = venue.pids("feed")
    record = ended(boss, begin(boss, "restart", "feed")["id"])
    assert record["outcome"] == "done"
    assert venue.pids("feed") != old


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "scale", "name": "venue", "instances": "2"}, 409),
        ({"kind": "reload", "name": "nobody"}, 409),
        ({"kind": "scale", "name": "worker"}, 422),
        ({"kind": "reload", "name": "feed", "instances": "2"}, 422),
        ({"kind": "stop", "name": "venue"}, 422),
        ({"kind": "reload"}, 422),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    boss: Browser, body: dict[str, str], status: int
) -> None:
    answer = boss.call("POST", "/web/cluster/operations", body)
    assert answer.status == status, answer.body
    newest = boss.call("GET", "/web/cluster/audit").rows()[0]
    if status == 409:
        assert (newest["outcome"], newest["name"]) == ("refused", body["name"])
        assert newest["reason"] == answer.json()["message"]
    else:
        assert newest["name"] != body.get("name") or newest["outcome"] != "asked"


def test_records_are_private_survive_kills_and_torn_lines(venue: Venue, boss: Browser) -> None:
    path = venue.state / "audit.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open("ab") as file:
        file.write(b'{"id": "torn", "at"')
    begun = begin(boss, "reload", "worker")
    venue.kill("worker")  # whoever began it is gone
    record = ended(boss, begun["id"])
    assert record["outcome"] in ("done", "failed", "rolled_back")
    ids = [row["id"] for row in boss.call("GET", "/web/cluster/audit").rows()]
    assert ids[0] == begun["id"]
    assert "torn" not in ids
    assert len(ids) == len(set(ids))


def test_nothing_is_done_that_cannot_be_recorded(venue: Venue, boss: Browser) -> None:
    path = venue.state / "audit.jsonl"
    kept = path.rename(venue.state / "audit.kept")
    path.mkdir()
    try:
        before = venue.pids("feed")
        answer = boss.call("POST", "/web/cluster/operations", {"kind": "restart", "name": "feed"})
        assert answer.status == 503
        assert "not begun" in answer.json()["message"]
        assert venue.pids("feed") == before
    finally:
        path.rmdir()
        kept.rename(path)


def test_who_is_no_administrator_any_more_is_cut(venue: Venue) -> None:
    browser = person(venue, "former", "admin")
    with stream(browser) as socket:
        frame(socket, "state")
        venue.madang("account", "disable", "former")
        with pytest.raises(ConnectionClosed) as closed:
            frame(socket, "nothing")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4500
