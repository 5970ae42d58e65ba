"""The text of systemd units, and what the live screen makes of numbers."""

from __future__ import annotations

from pathlib import Path

from madang.cli.monit_view import COLUMNS, Rates, cells
from madang.cli.units import ServicePlan, quoted, units
from madang.cluster.settings import ApplicationSettings, AutoscaleSettings, Kind, PortSettings

PORT = PortSettings("web", "::1", 8000)
WEB = ApplicationSettings("web", "app:app", 2, (PORT,), kind=Kind.ASGI)


def plan(*applications: ApplicationSettings, user: str = "") -> ServicePlan:
    begin = "/a b/madang"
    return ServicePlan(
        "shop", [begin, "resurrect"], [begin, "reload"], Path("/x%y"), applications, user
    )


def test_each_port_has_a_socket_for_every_instance_that_there_may_be() -> None:
    scaled = ApplicationSettings(
        "web", "app:app", 2, (PORT,), kind=Kind.ASGI, autoscale=AutoscaleSettings(1, 6)
    )
    text = units(plan(scaled))["shop-web.socket"]
    assert text.count("ListenStream=[::1]:8000\n") == 6


def test_ports_that_a_program_binds_or_the_kernel_chooses_have_none() -> None:
    own = ApplicationSettings(
        "x", "x", ports=(PortSettings("x", "127.0.0.1", 9, inherit=False),), kind=Kind.COMMAND
    )
    any_port = ApplicationSettings(
        "y", "y:y", ports=(PortSettings("y", "127.0.0.1", 0),), kind=Kind.ASGI
    )
    assert list(units(plan(own, any_port))) == ["shop.service"]


def test_the_service_waits_as_long_as_a_stop_may_take_and_quotes_what_it_must() -> None:
    text = units(plan(WEB, user="www-data"))["shop.service"]
    assert 'ExecStart="/a b/madang" resurrect\n' in text
    assert 'ExecReload="/a b/madang" reload\n' in text
    assert "WorkingDirectory=/x%%y\n" in text
    assert "TimeoutStopSec=25\n" in text
    assert "User=www-data\n" in text
    assert "WantedBy=multi-user.target" in text
    assert "WantedBy=default.target" in units(plan(WEB))["shop.service"]
    assert quoted("a=$b", dollar="$") == '"a=$b"'
    assert quoted('a"b$c%d') == '"a\\"b$$c%%d"'


def counted(name: str, requests: int) -> dict[str, object]:
    return {"name": name, "generation": 1, "requests": requests, "bus_sent": 1, "bus_received": 2}


def test_rates_are_differences_and_never_negative() -> None:
    rates = Rates()
    assert rates.update([counted("web-0", 100)], 10.0) == {}
    both = [counted("web-0", 150), counted("web-1", 5)]
    assert rates.update(both, 12.0) == {"web-0": 25.0}
    assert rates.update([counted("web-0", 3), counted("web-1", 5)], 13.0) == {
        "web-0": 0.0,
        "web-1": 0.0,
    }


def test_a_row_is_as_wide_as_its_columns_and_they_fit_eighty() -> None:
    row = {
        "name": "a-name-that-is-very-long-indeed", "state": "starting", "pid": 4_194_303,
        "uptime_s": 98_765, "restarts": 123, "cpu_percent": 100.0, "rss": 9_876_543_210,
        "connections": 123_456, "loop_lag_ms": 12_345.6,
    }  # fmt: skip
    found = cells(row, 1_234_567.0)
    assert [len(cell) for cell in found] == [width for _, width in COLUMNS]
    assert sum(width for _, width in COLUMNS) <= 80
