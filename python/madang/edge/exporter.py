"""The role that serves `/metrics` of a machine on a port of its own, for any applications.

Loopback unless another host is set: the numbers say much about what runs here.
"""

from __future__ import annotations

from typing import Final

from madang.bus import BusSettings, open_unix_bus
from madang.cluster.process import Process
from madang.cluster.settings import ApplicationSettings, PortSettings
from madang.edge.following import follow
from madang.edge.gathering import Gatherer, telling
from madang.edge.route import Application
from madang.edge.server import Server
from madang.edge.settings import EdgeSettings
from madang.edge.system import edge_metrics
from madang.hub import Hub

NAME: Final = "metrics"
TARGET: Final = "madang.edge.exporter:main"
HOST: Final = "127.0.0.1"
DRAIN_TIMEOUT_MS: Final = 2_000


def exporter(port: int, host: str = HOST, preload: tuple[str, ...] = ()) -> ApplicationSettings:
    """Return the entry of an exporter; port 0 lets the kernel choose."""
    return ApplicationSettings(
        name=NAME,
        target=TARGET,
        ports=(PortSettings(NAME, host, port),),
        preload=preload or ("madang.edge.exporter",),
    )


async def main(process: Process) -> None:
    """Serve until the cluster stops it."""
    bus = await open_unix_bus(BusSettings(process.bus_name, process.runtime_dir / "bus"))
    gatherer = Gatherer(bus, process, lambda: edge_metrics(server.state))
    application = Application((), title="Madang metrics", gather=gatherer.page)
    server = Server(application, EdgeSettings(), Hub(), process.scores)
    with telling(bus, process, lambda: ()):
        await server.start([])
        follow(process, server)
        process.ready()
        process.status("serves /metrics")
        await process.wait_stop()
        await server.drain(DRAIN_TIMEOUT_MS)
    await server.close()
    await bus.close()
