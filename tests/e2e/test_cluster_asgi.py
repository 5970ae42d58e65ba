"""An ordinary ASGI application: many processes, one port, a deploy that nobody notices."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.e2e.cluster_harness import ROOT, cluster, http, until

APP = """
VERSION = {version!r}

async def app(scope, receive, send):
    assert scope["type"] == "http"
    status = 500 if VERSION == "wrong" else 200
    await send({{"type": "http.response.start", "status": status, "headers": []}})
    await send({{"type": "http.response.body", "body": VERSION.encode()}})
"""

CLIENTS_MAX = 600


def deployed(folder: Path, **more: object) -> tuple[Path, dict[str, object]]:
    """Write version one; return the file of the code, and the entry that runs it."""
    code = folder / "code"
    code.mkdir()
    file = code / "web.py"
    file.write_text(APP.format(version="one"))
    entry: dict[str, object] = {"name": "web", "kind": "asgi", "target": "web.py:app"}
    entry |= {"directory": str(code), "instances": 2, "ports": http(), **more}
    entry["environment"] = {"PYTHONDONTWRITEBYTECODE": "1"}
    return file, entry


class Clients:
    """Two clients that make a new connection for each request, or keep theirs."""

    def __init__(self, address: tuple[str, int], *, keep: bool = False) -> None:
        self.address = address
        self.keep = keep
        self.seen: list[str] = []
        self.failures: list[str] = []
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def _run(self) -> None:
        client = HTTPConnection(*self.address, timeout=10)
        while not self._done.is_set():
            try:
                client.request("GET", "/")
                response = client.getresponse()
                word = response.read().decode()
                if response.status == 200:
                    self.seen.append(word)
                else:
                    self.failures.append(word)
            except (OSError, HTTPException) as error:
                self.failures.append(repr(error))
                client.close()
            if not self.keep:
                client.close()
        client.close()

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


def test_new_connections_and_requests_survive_a_deploy_and_a_broken_one(tmp_path: Path) -> None:
    file, entry = deployed(tmp_path, watch_ms=1_000)
    with cluster(tmp_path, [entry]) as running, Clients(running.wait_ready()["http"]) as clients:
        until(lambda: clients.seen)
        file.write_text(APP.format(version="two"))
        done = running.operate("reload", name="web")
        assert (done["state"], done["reason"]) == ("done", "")
        count = len(clients.seen)
        until(lambda: len(clients.seen) > count + 50)
        assert set(clients.seen[count + 10 :]) == {"two"}
        assert clients.failures == []
        file.write_text(APP.format(version="wrong"))
        done = running.operate("reload", name="web")
        assert done["state"] == "rolled_back"
        assert "answers were errors" in done["reason"]
        assert set(clients.failures) == {"wrong"}
        count = len(clients.seen)
        until(lambda: len(clients.seen) > count + 50)
        assert clients.seen[-1] == "two"
        file.write_text("import no_such_module")
        done = running.operate("reload", name="web")
        assert done["state"] == "failed"
        assert "no_such_module" in done["reason"]
        assert set(clients.failures) == {"wrong"}


def test_a_deploy_that_only_kept_connections_show_to_be_broken_is_taken_back(
    tmp_path: Path,
) -> None:
    file, entry = deployed(tmp_path, watch_ms=500)
    with (
        cluster(tmp_path, [entry]) as running,
        Clients(running.wait_ready()["http"], keep=True) as clients,
    ):
        until(lambda: clients.seen)
        file.write_text(APP.format(version="wrong"))
        done = running.operate("reload", name="web")
        assert (done["state"], "answers were errors" in done["reason"]) == ("rolled_back", True)
        assert running.row("web-0")["generation"] == running.row("web-1")["generation"] == 1
        served = len(clients.seen)
        until(lambda: len(clients.seen) > served + 20)
        # They were answered by the broken code for a moment, and never cut off.
        assert set(clients.failures) == {"wrong"}
        file.write_text(APP.format(version="two"))
        assert running.operate("reload", name="web")["state"] == "done"
        until(lambda: clients.seen[-1] == "two")


def test_a_port_is_closed_while_nobody_is_left_to_answer_on_it(tmp_path: Path) -> None:
    file, entry = deployed(tmp_path, instances=1, max_restarts=1)
    other: dict[str, object] = {"name": "tool", "kind": "command", "target": "sleep"}
    with cluster(tmp_path, [entry, {**other, "arguments": ["600"]}]) as running:
        address = running.wait_ready()["http"]

        def is_refused() -> bool:
            try:
                socket.create_connection(address, timeout=10).close()
            except ConnectionRefusedError:
                return True
            return False

        for command in ("reload", "restart"):
            file.write_text("import no_such_module")
            assert running.operate("restart", name="web")["state"] == "failed"
            until(is_refused)
            assert running.row("web-0")["state"] == "errored"
            assert running.operate("reload", name="web")["state"] == "failed"
            assert is_refused()
            file.write_text(APP.format(version="one"))
            assert running.operate(command, name="web")["state"] == "done"
            with Clients(address) as clients:
                until(partial(has_seen, clients, 10))
            assert clients.failures == []
        assert running.operate("scale", name="web", instances="2")["state"] == "done"
        assert running.operate("stop", name="web-0")["state"] == "done"
        assert not is_refused()
        assert running.operate("stop", name="web-1")["state"] == "done"
        assert is_refused()
        assert running.operate("start", name="web-1")["state"] == "done"
        assert not is_refused()


def has_seen(clients: Clients, count: int) -> bool:
    return len(clients.seen) > count


@contextmanager
def open_files_max(soft: int) -> Iterator[None]:
    """Let this process, and what it starts, open only so many files by default."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def asked_for_websocket(address: tuple[str, int]) -> tuple[socket.socket, bytes]:
    """Ask for a WebSocket of the hub; return the connection and the first line of the answer."""
    client = socket.create_connection(address, timeout=10)
    client.sendall(
        b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return client, client.recv(4_096).partition(b"\r\n")[0]


def test_hub_clients_have_the_limits_of_the_application_not_those_of_the_shell(
    tmp_path: Path,
) -> None:
    entry: dict[str, object] = {"name": "web", "kind": "asgi", "ports": http()}
    entry |= {"target": "tests.e2e.handover_app:app", "options": {"connections_max": CLIENTS_MAX}}
    entry["environment"] = {"PYTHONPATH": f"{ROOT}/python:{ROOT}"}
    limit = ["-c", "ulimit -Sn; exec sleep 600"]
    other = {"name": "tool", "kind": "command", "target": "sh", "arguments": limit}
    with ExitStack() as stack:
        with open_files_max(CLIENTS_MAX // 2):
            running = stack.enter_context(cluster(tmp_path, [entry, other]))
        address = running.wait_ready()["http"]
        for _ in range(CLIENTS_MAX):
            client, answer = asked_for_websocket(address)
            stack.callback(client.close)
            assert answer.startswith(b"HTTP/1.1 101 ")
        client, answer = asked_for_websocket(address)
        stack.callback(client.close)
        assert answer == b"HTTP/1.1 503 Service Unavailable"
        # A program that is not ours has what the shell gave.
        until(lambda: running.log("tool").endswith(f" | {CLIENTS_MAX // 2}\n"))
