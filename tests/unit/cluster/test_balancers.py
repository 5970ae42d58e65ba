"""Configurations of balancers: what they say, and what they refuse to say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from madang.cluster.balancers import (
    BalancerError,
    BalancerSettings,
    Balancing,
    EdgeLimits,
    application_template,
    haproxy_configuration,
    network_template,
    nginx_configuration,
)
from madang.edge import EdgeSettings

CFN_LINT = [sys.executable, "-c", "from cfnlint.runner import main; main()"]
NODES = ("10.0.0.1:8000", "10.0.0.2:8000", "[fd00::3]:8000")
EDGE = EdgeSettings()
LIMITS = EdgeLimits(**{name: getattr(EDGE, name) for name in EdgeLimits.__slots__})
BEHIND_PROXY = EdgeLimits(
    **{name: getattr(LIMITS, name) for name in EdgeLimits.__slots__ if name != "proxy_protocol"},
    proxy_protocol=True,
)


def balancing(
    settings: BalancerSettings | None = None,
    limits: EdgeLimits = LIMITS,
    down: frozenset[str] = frozenset(),
) -> Balancing:
    return Balancing(settings or BalancerSettings(), limits, NODES, down)


def checked(command: list[str], path: Path, text: str) -> None:
    path.write_text(text)
    done = subprocess.run(
        [*command, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("write", [application_template, network_template])
@pytest.mark.parametrize("down", [frozenset(), frozenset(NODES[:1])])
def test_templates_pass_cfn_lint(write: object, down: frozenset[str], tmp_path: Path) -> None:
    assert callable(write)
    text = write(balancing(down=down))
    checked(CFN_LINT, tmp_path / "template.json", text)
    addresses = [
        target["Id"] for target in json.loads(text)["Resources"]["Targets"]["Properties"]["Targets"]
    ]
    assert addresses == [a for a in ("10.0.0.1", "10.0.0.2", "fd00::3") if f"{a}:8000" not in down]


def test_a_network_balancer_says_who_the_client_is_and_asks_for_health_elsewhere(
    tmp_path: Path,
) -> None:
    with pytest.raises(BalancerError, match="health_port"):
        network_template(balancing(limits=BEHIND_PROXY))
    text = network_template(balancing(BalancerSettings(health_port=9102), BEHIND_PROXY))
    checked(CFN_LINT, tmp_path / "template.json", text)
    group = json.loads(text)["Resources"]["Targets"]["Properties"]
    attributes = {pair["Key"]: pair["Value"] for pair in group["TargetGroupAttributes"]}
    assert attributes["proxy_protocol_v2.enabled"] == "true"
    assert group["HealthCheckPort"] == "9102"


@pytest.mark.parametrize("slow_start_s", [1, 30, 86_400])
def test_an_application_balancer_counts_open_requests_so_it_starts_no_machine_slowly(
    slow_start_s: int,
) -> None:
    text = application_template(balancing(BalancerSettings(slow_start_s=slow_start_s)))
    group = json.loads(text)["Resources"]["Targets"]["Properties"]
    attributes = {pair["Key"]: pair["Value"] for pair in group["TargetGroupAttributes"]}
    assert attributes["load_balancing.algorithm.type"] == "least_outstanding_requests"
    assert "slow_start.duration_seconds" not in attributes


def test_the_balancer_is_never_the_first_to_give_up() -> None:
    slow = EdgeLimits(
        body_bytes_max=1,
        header_bytes_max=1,
        header_timeout_ms=5_000,
        handler_timeout_ms=90_000,
        idle_timeout_ms=60_000,
        ping_interval_ms=20_000,
        pong_timeout_ms=10_000,
    )
    assert balancing(limits=slow).silence_s > slow.handler_timeout_ms / 1_000
    assert balancing().silence_s >= 2 * (EDGE.ping_interval_ms + EDGE.pong_timeout_ms) / 1_000
    assert balancing().keep_alive_s < EDGE.idle_timeout_ms / 1_000


def test_a_node_that_is_down_gets_nothing() -> None:
    one = balancing(down=frozenset(NODES[:1]))
    assert "server 10.0.0.1:8000 down;" in nginx_configuration(one)
    assert "server node1 10.0.0.1:8000 disabled" in haproxy_configuration(one)
    with pytest.raises(BalancerError, match="at least one"):
        balancing(down=frozenset(NODES))
    with pytest.raises(BalancerError, match="not among"):
        balancing(down=frozenset({"10.0.0.9:1"}))


def test_what_a_balancer_cannot_do_is_refused_with_the_way_out() -> None:
    with pytest.raises(BalancerError, match="trusted_proxies"):
        nginx_configuration(balancing(limits=BEHIND_PROXY))
    with pytest.raises(BalancerError, match="tls_key"):
        nginx_configuration(balancing(BalancerSettings(tls_cert="cert.pem")))
    with pytest.raises(BalancerError, match="PROXY"):
        application_template(balancing(limits=BEHIND_PROXY))
    with pytest.raises(BalancerError, match="cannot reach"):
        network_template(Balancing(BalancerSettings(), LIMITS, ("127.0.0.1:8000",)))
    with pytest.raises(BalancerError, match="is a name"):
        network_template(Balancing(BalancerSettings(), LIMITS, ("node-a:8000",)))
    with pytest.raises(BalancerError, match="host:port"):
        Balancing(BalancerSettings(), LIMITS, ("node-a",))


@pytest.mark.parametrize(
    "bad",
    [
        {"nodes": ["x;y:1"]},
        {"nodes": ["a:0"]},
        {"nodes": ["a:70000"]},
        {"nodes": ["[::zz]:1"]},
        {"server_name": "a b"},
        {"server_name": "a;\ninclude x"},
        {"tls_cert": 'a"; include /x'},
        {"agent_port": 70000},
        {"drain_timeout_s": 0},
        {"node": ["a:1"]},
    ],
)
def test_settings_that_would_break_a_configuration_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, BalancerSettings)


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")
def test_haproxy_accepts_every_form(tmp_path: Path) -> None:
    certificates = Path(__file__).parents[2] / "support" / "certificates"
    names = sorted(certificates.glob("*.crt"))
    both = tmp_path / "both.pem"
    both.write_text(names[0].read_text() + names[0].with_suffix(".key").read_text())
    for settings in (
        BalancerSettings(),
        BalancerSettings(agent_port=9101, server_name="example.com"),
        BalancerSettings(tls_cert=str(both)),
    ):
        for limits in (LIMITS, BEHIND_PROXY):
            text = haproxy_configuration(balancing(settings, limits))
            checked(["haproxy", "-c", "-f"], tmp_path / "haproxy.cfg", text)
