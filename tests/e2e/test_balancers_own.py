"""A balancer in front of an application of one's own: no market, no `/healthz` in it."""

from __future__ import annotations

import http.client
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_harness import Terminal, terminal
from tests.support.balanced import free_port, running_program
from tests.support.metrics import samples
from tests.support.running import wait_for

LIMIT_S = 20.0
TABLE = """
[cluster]
metrics_port = {metrics}
[balancer]
listen_port = {front}
health_port = {health}
agent_port = {agent}
[app.web]
target = "hello.py:app"
port = {web}
instances = 2
"""
NAMES = ("metrics", "front", "health", "agent", "web")

needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")


@pytest.fixture
def shell() -> Iterator[Terminal]:
    with terminal() as typing:
        yield typing


def status(port: int, path: str = "/", body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        return connection.getresponse().status
    finally:
        connection.close()


@needs_haproxy
def test_haproxy_serves_it_drains_it_and_takes_it_back(shell: Terminal, tmp_path: Path) -> None:
    ports = {name: free_port() for name in NAMES}
    shell.write("madang.toml", TABLE.format(**ports))
    shell.good("start")
    file = tmp_path / "haproxy.cfg"
    shell.good("balancer", "haproxy", "--output", str(file))
    front = ports["front"]
    with running_program(["haproxy", "-db", "-f", str(file)], front, tmp_path):
        wait_for(lambda: status(front) == 200, LIMIT_S, "the application behind the balancer")
        assert status(front, "/metrics") == 200, "the path is the application's own"
        assert status(front, body=b"x" * 100_000) == 200, "as large as the application takes"
        assert "hear it" in shell.good("balancer", "drain").out
        wait_for(lambda: status(front) == 503, LIMIT_S, "nothing new for a drained machine")
        shell.good("balancer", "ready")
        wait_for(lambda: status(front) == 200, LIMIT_S, "it is back")
    connection = http.client.HTTPConnection("127.0.0.1", ports["metrics"], timeout=LIMIT_S)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    assert samples(page, "madang_requests_total", app="web")


@needs_haproxy
def test_without_a_health_port_it_is_only_connected(shell: Terminal, tmp_path: Path) -> None:
    front, web = free_port(), free_port()
    table = f'[balancer]\nlisten_port = {front}\n[app.web]\ntarget = "hello.py:app"\nport = {web}\n'
    shell.write("madang.toml", table)
    shell.good("start")
    file = tmp_path / "haproxy.cfg"
    shell.good("balancer", "haproxy", "-o", str(file))
    with running_program(["haproxy", "-db", "-f", str(file)], front, tmp_path):
        wait_for(lambda: status(front) == 200, LIMIT_S, "the application behind the balancer")
    assert "nothing here tells them" in shell.good("balancer", "drain").err
    refused = shell.run("balancer", "alb", "--node", f"10.0.0.1:{web}")
    assert (refused.code, "set [balancer] health_port" in refused.err) == (1, True)
