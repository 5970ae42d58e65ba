"""Debian's nginx and HAProxy with the configurations that `madang balancer` writes."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from madang.cluster.balancers import (
    BalancerSettings,
    Balancing,
    EdgeLimits,
    haproxy_configuration,
    nginx_configuration,
)
from madang.edge import (
    Application,
    EdgeSettings,
    Operation,
    Request,
    Response,
    Role,
    Route,
)
from tests.support.balanced import Load, free_port, running_program
from tests.support.edge import run, serving
from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue

LIMIT_S = 20.0
PAGE = "/web/symbols"
OWN_QUESTIONS_MAX = 10
"""What looking itself may add to a count."""
LOOK_ANSWERS = 300
"""More than the load gets while a metrics page is still given again."""

needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")
needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")


class Machine:
    """One node: a product of its own, with an agent."""

    def __init__(self, venue: Venue, agent_port: int) -> None:
        self.venue = venue
        self.agent_port = agent_port
        self.address = f"127.0.0.1:{venue.port}"

    def answers(self) -> int:
        """Return how many requests it has answered with 200."""
        return int(self.venue.metric("madang_http_responses_total", status="200"))

    def gets_traffic(self, load: Load) -> bool:
        """Return whether it answered others while the load got a few answers."""
        mine, all_ = self.answers(), load.answers["200"]
        wait_for(lambda: load.answers["200"] >= all_ + LOOK_ANSWERS, LIMIT_S, "the load")
        return self.answers() - mine > OWN_QUESTIONS_MAX


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    """Return two machines, each with one worker so that its counts are whole."""
    folder = tmp_path_factory.mktemp("machines")
    agents = [free_port(), free_port()]
    edge = 'trusted_proxies = ["127.0.0.1"]\n[balancer]\nagent_port = {}'
    with (
        running_venue(folder / "a", workers=1, edge=edge.format(agents[0])) as first,
        running_venue(folder / "b", workers=1, edge=edge.format(agents[1])) as second,
    ):
        yield [Machine(first, agents[0]), Machine(second, agents[1])]


def limits(edge: EdgeSettings | None = None) -> EdgeLimits:
    settings = edge or EdgeSettings()
    return EdgeLimits(**{name: getattr(settings, name) for name in EdgeLimits.__slots__})


def balancing(machines: list[Machine], port: int, down: frozenset[str] = frozenset()) -> Balancing:
    settings = BalancerSettings(listen_port=port, slow_start_s=1, drain_timeout_s=30)
    return Balancing(settings, limits(), tuple(m.address for m in machines), down)


@contextmanager
def open_streams(port: int, number: int) -> Iterator[list[ClientConnection]]:
    """Open the pages' stream through the balancer, and see that it answers."""
    with ExitStack() as stack:
        url = f"ws://127.0.0.1:{port}/web/stream"
        streams = [stack.enter_context(connect(url, open_timeout=LIMIT_S)) for _ in range(number)]
        expect_open(streams)
        yield streams


def expect_open(streams: list[ClientConnection]) -> None:
    for stream in streams:
        assert stream.ping().wait(LIMIT_S)


def expect_both_serve(machines: list[Machine], load: Load) -> None:
    wait_for(
        lambda: all(machine.gets_traffic(load) for machine in machines), LIMIT_S, "traffic on both"
    )


@needs_haproxy
def test_haproxy_drains_a_machine_and_takes_it_back_without_an_error(
    machines: list[Machine], tmp_path: Path
) -> None:
    port = free_port()
    file = tmp_path / "haproxy.cfg"
    file.write_text(haproxy_configuration(balancing(machines, port)))
    with (
        running_program(["haproxy", "-db", "-f", str(file)], port, tmp_path),
        Load(port, PAGE) as load,
        open_streams(port, 4) as streams,
    ):
        expect_both_serve(machines, load)
        for wish in ("drain", "maintenance"):
            machines[0].venue.madang("balancer", wish)
            wait_for(lambda: not machines[0].gets_traffic(load), LIMIT_S, "no traffic")
            assert machines[1].gets_traffic(load)
            if wish == "drain":
                expect_open(streams)  # what is open goes on
            machines[0].venue.madang("balancer", "ready")
            expect_both_serve(machines, load)
    assert load.errors == {}


@needs_haproxy
def test_haproxy_follows_the_agent(machines: list[Machine], tmp_path: Path) -> None:
    """With health by agent alone, so that it is the agent that is seen to drain."""
    port = free_port()
    agents = {machine.address: machine.agent_port for machine in machines}
    text = haproxy_configuration(balancing(machines, port)).replace("http-check", "# http-check")
    for address, agent in agents.items():
        server = f"{address} agent-check agent-port {agent} agent-inter 200ms"
        text = text.replace(address, server)
    file = tmp_path / "haproxy.cfg"
    file.write_text(text.replace("option httpchk GET /healthz", ""))
    with (
        running_program(["haproxy", "-db", "-f", str(file)], port, tmp_path),
        Load(port, PAGE) as load,
    ):
        expect_both_serve(machines, load)
        machines[0].venue.madang("balancer", "drain")
        wait_for(lambda: not machines[0].gets_traffic(load), LIMIT_S, "no traffic")
        machines[0].venue.madang("balancer", "ready", "--weight", "50")
        expect_both_serve(machines, load)
        machines[0].venue.madang("balancer", "ready")
    assert load.errors == {}


@needs_nginx
def test_nginx_drains_a_machine_and_takes_it_back_without_an_error(
    machines: list[Machine], tmp_path: Path
) -> None:
    port = free_port()
    file = tmp_path / "nginx.conf"

    def write(down: frozenset[str] = frozenset()) -> None:
        text = nginx_configuration(balancing(machines, port, down))
        file.write_text(text.replace("http {\n", "http {\n    access_log off;\n", 1))

    write()
    pid = f"daemon off; pid {tmp_path}/nginx.pid;"
    command = ["nginx", "-p", str(tmp_path), "-e", "stderr", "-c", str(file), "-g", pid]
    with (
        running_program(command, port, tmp_path) as nginx,
        Load(port, PAGE) as load,
        open_streams(port, 4) as streams,
    ):
        expect_both_serve(machines, load)
        write(down=frozenset({machines[0].address}))
        nginx.send_signal(signal.SIGHUP)
        wait_for(lambda: not machines[0].gets_traffic(load), LIMIT_S, "no traffic")
        assert machines[1].gets_traffic(load)
        expect_open(streams)
        write()
        nginx.send_signal(signal.SIGHUP)
        expect_both_serve(machines, load)
    assert load.errors == {}


def whoami() -> Application:
    """Return an application that says whose request it is."""

    def answer(request: Request) -> Response:
        return Response(200, request.peer.encode(), "text/plain")

    operation = Operation("Who am I?", responses={200: str}, content_type="text/plain")
    return Application(routes=(Route("GET", "/me", answer, Role.PUBLIC, operation),))


PROXIED = EdgeSettings(
    sweep_interval_ms=20,
    header_timeout_ms=200,
    trusted_proxies=("127.0.0.1/32",),
    proxy_protocol=True,
)


async def ask(port: int, sent: bytes, source: str = "127.0.0.1") -> bytes:
    """Send on a connection of its own and return all that was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    writer.write(sent)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


REQUEST = b"GET /me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def test_a_proxy_header_says_whose_request_it_is_and_only_a_proxy_may() -> None:
    async def main() -> None:
        async with serving(whoami(), PROXIED) as server:
            header = b"PROXY TCP4 192.0.2.7 127.0.0.1 5 80\r\n"
            assert (await ask(server.port, header + REQUEST)).endswith(b"\r\n\r\n192.0.2.7")
            assert (await ask(server.port, b"PROXY UNKNOWN\r\n" + REQUEST)).endswith(b"127.0.0.1")
            assert await ask(server.port, REQUEST) == b""
            assert await ask(server.port, b"PROX") == b""
            assert await ask(server.port, header + REQUEST, "127.0.0.2") == b""
            counts = server.server.statistics()
            assert counts["count_refused_proxy_header"] == 1
            assert counts["count_refused_proxy_timeout"] == 1
            assert counts["count_refused_proxy_untrusted"] == 1

    run(main)


@needs_haproxy
def test_haproxy_passes_the_client_on_by_proxy_protocol(tmp_path: Path) -> None:
    port = free_port()

    async def main() -> None:
        async with serving(whoami(), PROXIED) as server:
            node = f"127.0.0.1:{server.port}"
            settings = BalancerSettings(listen_port=port)
            text = haproxy_configuration(Balancing(settings, limits(PROXIED), (node,)))
            file = tmp_path / "haproxy.cfg"
            file.write_text(text)
            command = ["haproxy", "-db", "-f", str(file)]
            ask = ["curl", "-sS", "--interface", "127.0.0.3", f"http://127.0.0.1:{port}/me"]

            def through() -> str:
                with running_program(command, port, tmp_path):
                    return subprocess.run(
                        ask, capture_output=True, text=True, timeout=LIMIT_S, check=True
                    ).stdout

            assert await asyncio.to_thread(through) == "127.0.0.3"

    run(main)
