"""Settings that cannot be used are refused by name."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from madang.cluster.errors import UnsupportedSystem
from madang.cluster.foreground import decode, render
from madang.cluster.linux import require_linux
from madang.cluster.settings import (
    ApplicationSettings,
    ClusterSettings,
    PortSettings,
    WatchdogSettings,
    check,
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
        (replace(GOOD, applications=()), "at least one"),
        (replace(GOOD, applications=(WORKER, WORKER)), "unique names"),
        (replace(GOOD, applications=(replace(WORKER, name="Bad Name"),)), "Bad Name"),
        (replace(GOOD, applications=(replace(WORKER, target="no colon"),)), "worker.target"),
        (replace(GOOD, applications=(replace(WORKER, instances=0),)), "1 to 256"),
        (replace(GOOD, applications=(replace(WORKER, stop_timeout_ms=0),)), "above 0 ms"),
        (replace(GOOD, applications=(replace(WORKER, options={"a": {1}}),)), "plain JSON"),
        (replace(GOOD, applications=(replace(WORKER, options={"a": "x" * 70_000}),)), "65536"),
        (replace(GOOD, applications=(WORKER, replace(WORKER, name="other"))), "each name"),
        (
            replace(
                GOOD,
                applications=(replace(WORKER, ports=(PortSettings("http", "::", 70_000),)),),
            ),
            "port 0 to 65535",
        ),
        (replace(GOOD, watchdog=WatchdogSettings(heartbeat_ms=5_000)), "heartbeat_ms < stall_ms"),
        (replace(GOOD, runtime_dir=Path("/" + "x" * 120)), "a path of at most"),
    ],
)
def test_bad_settings_are_named(settings: ClusterSettings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check(settings)


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
