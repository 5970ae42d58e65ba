"""Which settings of a running application are not those of the file."""

from __future__ import annotations

import json
from dataclasses import replace

from madang.cli.changed import changed
from madang.cluster.entries import encode_application
from madang.cluster.settings import ApplicationSettings, AutoscaleSettings, PortSettings

OLD = ApplicationSettings(
    "web", "web:app", ports=(PortSettings("web", "127.0.0.1", 8000),), environment={"A": "1"}
)
RUNNING = json.loads(json.dumps(encode_application(OLD)))


def differing(new: ApplicationSettings) -> list[str]:
    return changed(encode_application(new), RUNNING, 1)


def test_the_same_settings_differ_in_nothing() -> None:
    assert differing(OLD) == []


def test_each_setting_that_differs_is_named() -> None:
    port = PortSettings("web", "127.0.0.1", 8001)
    assert differing(replace(OLD, ports=(port,), nice=3)) == ["nice", "ports"]
    assert differing(replace(OLD, autoscale=AutoscaleSettings(1, 4))) == ["autoscale"]
    assert differing(replace(OLD, environment={"B": "2"})) == ["environment.A", "environment.B"]


def test_a_number_of_instances_is_changed_by_the_file_and_not_by_scaling() -> None:
    scaled = {**RUNNING, "instances": 4}
    assert changed(encode_application(OLD), scaled, 1) == []
    assert changed(encode_application(replace(OLD, instances=4)), scaled, 1) == []
    assert changed(encode_application(replace(OLD, instances=2)), scaled, 1) == ["instances"]


def test_a_setting_that_the_other_version_does_not_know_is_named() -> None:
    known = {name: value for name, value in RUNNING.items() if name != "nice"}
    assert changed(encode_application(OLD), known, 1) == ["nice"]
