"""A worker that serves the hub of an application, without the runner of ASGI applications."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from madang import bus, hub
from madang.cluster.process import Process
from madang.edge import Application, EdgeSettings, Server
from madang.edge.hub_front import hub_routes


async def front(process: Process) -> None:
    """Serve the endpoints that the file of the options declares."""
    path = Path(str(process.options["file"]))
    spec = importlib.util.spec_from_file_location("served", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    async with bus.session(process), hub.session() as session:
        server = Server(Application((), hub_routes(session)), EdgeSettings(), session.hub)
        await server.start(process.sockets["http"])
        process.on_socket(
            lambda _, sock: server.add_socket(sock), lambda _, sock: server.remove_socket(sock)
        )
        process.ready()
        await process.wait_stop()
        await server.drain(1_000)
        await server.close()
