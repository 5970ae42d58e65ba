"""Settings that cannot be used are refused by name."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import pytest

from madang.cluster.checks import check, check_application, check_ports
from madang.cluster.entries import (
    decode,
    decode_application,
    encode_application,
    parse_instances,
)
from madang.cluster.errors import UnsupportedSystem
from madang.cluster.foreground import render
from madang.cluster.linux import require_linux
from madang.cluster.schedule import next_after
from madang.cluster.settings import (
    ApplicationSettings,
    AutoscaleSettings,
    Balance,
    ClusterSettings,
    Kind,
    PortSettings,
    WatchdogSettings,
)
from madang.core.errors import SettingsError

WORKER = ApplicationSettings("worker", "a.b:main", 2, (PortSettings("http", "127.0.0.1", 80),))
GOOD = ClusterSettings(Path("state"), Path("run"), (WORKER,))


def test_good_settings_pass_and_name_their_instances() -> None:
    check(GOOD)
    assert [WORKER.instance_name(slot) for slot in (0, 1)] == ["worker-0", "worker-1"]
    assert ApplicationSettings("venue", "a:b").instance_name(0) == "venue"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (replace(GOOD, applications=(WORKER, WORKER)), "unique names"),
        (replace(GOOD, applications=(replace(WORKER, name="Bad Name"),)), "Bad Name"),
        (replace(GOOD, applications=(replace(WORKER, target="no colon"),)), "worker.target"),
        (replace(GOOD, applications=(replace(WORKER, instances=0),)), "1 to 256"),
        (replace(GOOD, applications=(replace(WORKER, stop_timeout_ms=0),)), "above 0 ms"),
        (replace(GOOD, applications=(replace(WORKER, options={"a": {1}}),)), "plain JSON"),
        (replace(GOOD, applications=(replace(WORKER, options={"a": "x" * 70_000}),)), "65536"),
        (replace(GOOD, applications=(WORKER, replace(WORKER, name="other"))), "the port name"),
        (
            replace(
                GOOD,
                applications=(replace(WORKER, ports=(PortSettings("http", "::", 70_000),)),),
            ),
            "port 0 to 65535",
        ),
        (
            replace(GOOD, applications=(WORKER, replace(WORKER, name="worker-7"))),
            "worker-7 is the name of an instance of worker",
        ),
        (replace(GOOD, watchdog=WatchdogSettings(heartbeat_ms=5_000)), "heartbeat_ms < stall_ms"),
        (replace(GOOD, runtime_dir=Path("/" + "x" * 120)), "a path of at most"),
    ],
)
def test_bad_settings_are_named(settings: ClusterSettings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check(settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": Kind.ASGI, "target": "no colon"}, "file.py:app"),
        ({"ready": "later"}, '"notify", "started" or'),
        ({"ready": "http://example.org:{port}/"}, "an IPv4 address"),
        ({"ready": "http://127.0.0.1:{port}/", "ports": ()}, "there is none"),
        ({"stop_signal": "SIGNOTHING"}, "name of a signal"),
        ({"stop_signal": "SIGUSR1"}, "SIGTERM only"),
        ({"exclusive": True}, "a single instance"),
        ({"autoscale": AutoscaleSettings(3, 2)}, "minimum <= maximum"),
        ({"restart_schedule": "every day"}, "a cron expression"),
        ({"error_rate_max": 1.5}, "0 to 1"),
        ({"balance": Balance.WEIGHTS}, "one weight above 0"),
        ({"name": "all"}, "a word of ours"),
        ({"environment": {"A=B": "c"}}, "names without ="),
        ({"environment": {"A": "\ud800"}}, "expected a text"),
        ({"memory_max_bytes": -1}, "at least 0"),
        ({"ports": (PortSettings("http", "127.0.0.1", 80, inherit=False),)}, "inherits its"),
    ],
)
def test_a_bad_entry_is_named(change: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_application(replace(WORKER, **change))  # type: ignore[arg-type]


def test_a_port_of_another_application_is_named_with_its_owner() -> None:
    first = replace(WORKER, name="web", ports=(PortSettings("http", "127.0.0.1", 8000),))
    same_address = replace(first, name="api", ports=(PortSettings("api", "127.0.0.1", 8000),))
    same_name = replace(first, name="api", ports=(PortSettings("http", "127.0.0.1", 8001),))
    check_ports([first, replace(same_name, ports=(PortSettings("api", "127.0.0.1", 8001),))])
    with pytest.raises(SettingsError, match=r"api.ports: 127.0.0.1:8000 belongs to web: choose"):
        check_ports([first, same_address])
    with pytest.raises(SettingsError, match=r"the port name http belongs to web"):
        check_ports([first, same_name])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"name": "a"}, "a.target: expected a text"),
        ({"name": "a", "target": "b:c", "colour": 1}, "a.colour: is not known"),
        ({"name": "a", "target": "b:c", "nice": "much"}, "a.nice: expected a whole number"),
        ({"name": "a", "target": "b:c", "exclusive": 1}, "a.exclusive: expected true or false"),
        ({"name": "a", "target": "b:c", "kind": "cat"}, "a.kind: expected one of role, asgi"),
        ({"name": "a", "target": "b:c", "ports": [{"name": "x"}]}, "a.ports: misses a field"),
        ({"name": "a", "target": "b:c", "instances": "many"}, "a number, max, 0, -1 or auto:1-8"),
        ({"name": "a", "target": "b:c", "options": []}, "a.options: expected a table"),
    ],
)
def test_an_entry_of_the_wrong_shape_is_named(entry: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        decode_application(entry)


def test_instances_are_written_as_pm2_writes_them() -> None:
    cores = len(os.sched_getaffinity(0))
    assert parse_instances("4") == (4, None)
    assert parse_instances("max") == parse_instances("0") == (cores, None)
    assert parse_instances("-1") == (max(1, cores - 1), None)
    assert parse_instances("auto:2-8") == (2, AutoscaleSettings(2, 8))
    entry = decode_application({"name": "a", "target": "b:c", "instances": "auto:2-8"})
    assert (entry.instances, entry.autoscale) == (2, AutoscaleSettings(2, 8))


def test_an_entry_survives_its_json_form() -> None:
    rich = ApplicationSettings(
        "web",
        "-m http.server",
        3,
        (PortSettings("http", "0.0.0.0", 80, inherit=False),),
        kind=Kind.PYTHON,
        arguments=("--cgi",),
        environment={"A": "b"},
        autoscale=AutoscaleSettings(1, 4, cpu_high_percent=90),
        balance=Balance.LEAST_CONNECTIONS,
        weights=(1, 2),
        error_rate_max=0.5,
        watch_files=("src",),
        restart_schedule="0 3 * * *",
    )
    assert decode_application(json.loads(json.dumps(encode_application(rich)))) == rich


def test_a_schedule_names_the_next_time() -> None:
    noon = datetime(2026, 3, 1, 12, 0).astimezone().timestamp()
    following = datetime(2026, 3, 2, 3, 30).astimezone().timestamp()
    assert next_after("30 3 * * *", noon) == following


def test_anything_but_linux_is_refused_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(UnsupportedSystem, match="Linux only, this is darwin"):
        require_linux()


def test_the_plain_form_of_settings_is_read_back_whole() -> None:
    rich = replace(
        GOOD,
        applications=(replace(WORKER, options={"a": [1, None]}, preload=("a", "b"), nice=3),),
        watchdog=WatchdogSettings(heartbeat_ms=1, stall_ms=2, abort_ms=3),
        backlog=7,
    )
    assert decode(json.loads(json.dumps(asdict(rich), default=str))) == rich


def test_a_banner_shows_the_addresses_of_its_ports() -> None:
    addresses = {"http": ("127.0.0.1", 80), "rtmp": ("::1", 1935)}
    shown = render("http://{http}/ rtmp://{rtmp}/ {other}", addresses)
    assert shown == "http://127.0.0.1:80/ rtmp://[::1]:1935/ {other}"
