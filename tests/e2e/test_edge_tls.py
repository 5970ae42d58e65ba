"""TLS ended in the worker: HTTP and WebSocket, and a new certificate without a restart."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import msgspec
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from madang.edge import Application, EdgeSettings, Request, Role, WebSocketRoute
from madang.hub import Connection, Session
from tests.support.edge import Client, Running, eventually, get, run, serving

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"


class Echo:
    def __init__(self, request: Request, connection: Connection) -> None:
        connection.authenticated = True
        self.connection = connection

    def on_message(self, payload: bytes, binary: bool) -> None:
        self.connection.send(payload, binary)

    def on_close(self, code: int, reason: str) -> None:
        pass


def open_echo(request: Request, connection: Connection) -> Session:
    return Echo(request, connection)


def application() -> Application:
    return Application(routes=(), websocket_routes=(WebSocketRoute("/ws", Role.PUBLIC, open_echo),))


def place(folder: Path, name: str) -> None:
    shutil.copy(CERTIFICATES / f"{name}.key", folder / "server.key")
    shutil.copy(CERTIFICATES / f"{name}.crt", folder / "server.crt")


def replace_certificate(folder: Path, content: bytes) -> None:
    """Put another certificate there in one step, so that the server finds it whole."""
    new = folder / "new.crt"
    new.write_bytes(content)
    new.replace(folder / "server.crt")


def settings(folder: Path) -> EdgeSettings:
    return msgspec.convert(
        {
            "sweep_interval_ms": 10,
            "tls_check_interval_ms": 20,
            "tls_cert": str(folder / "server.crt"),
            "tls_key": str(folder / "server.key"),
        },
        EdgeSettings,
    )


def trust(name: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATES / f"{name}.crt"))


async def dial(running: Running, name: str) -> Client:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", running.port, ssl=trust(name), server_hostname="localhost"
    )
    running.clients.append(Client(reader, writer))
    return running.clients[-1]


def test_http_and_websocket_over_tls(tmp_path: Path) -> None:
    place(tmp_path, "first")

    async def main() -> None:
        async with serving(application(), settings(tmp_path)) as running:
            client = await dial(running, "first")
            client.send(get("/healthz") + get("/nothing"))
            assert (await client.answer()).status == 200
            assert (await client.answer()).status == 404
            client.send(b"BAD\r\n\r\n")
            assert (await client.answer()).status == 400
            await client.ended()
            address = f"wss://localhost:{running.port}/ws"
            async with connect(address, ssl=trust("first"), host="127.0.0.1") as peer:
                for message in ("hello", "x" * 60_000):
                    await peer.send(message)
                    assert await peer.recv() == message
            plain = await running.connect()  # HTTP spoken to a TLS port
            plain.send(get("/healthz"))
            await plain.ended()
            await eventually(lambda: running.server.statistics()["connections"] == 0)

    run(main)


def test_a_new_certificate_serves_new_connections_and_a_bad_one_does_not(tmp_path: Path) -> None:
    place(tmp_path, "first")

    async def main() -> None:
        async with serving(application(), settings(tmp_path)) as running:
            old = await dial(running, "first")
            with capture_logs() as logged:

                def refused() -> int:
                    return [line["event"] for line in logged].count("certificate not reloaded")

                replace_certificate(tmp_path, b"not a certificate")
                await eventually(lambda: refused() == 1)
                await dial(running, "first")
                not_of_this_key = (CERTIFICATES / "second.crt").read_bytes()
                replace_certificate(tmp_path, not_of_this_key)
                await eventually(lambda: refused() == 2)
                await dial(running, "first")
            place(tmp_path, "second")

            async def served() -> bool:
                try:
                    await dial(running, "second")
                except ssl.SSLCertVerificationError:
                    return False
                return True

            until = asyncio.get_running_loop().time() + 10
            while not await served():  # noticed by itself
                assert asyncio.get_running_loop().time() < until
                await asyncio.sleep(0.02)
            old.send(get("/healthz"))  # the old connection lives on
            assert (await old.answer()).status == 200

    run(main)
