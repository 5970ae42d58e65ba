"""FastAPI, Starlette and plain ASGI applications, unmodified, in the cluster, by real clients."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.sync.client as client
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.e2e.cluster_harness import Cluster, cluster, http, until

APPS = "tests.e2e.asgi_apps"
CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"


@contextmanager
def running(
    folder: Path, target: str, *, instances: int = 1, **options: object
) -> Iterator[tuple[Cluster, str]]:
    entry = {
        "name": "web",
        "target": "madang.edge.asgi.process:main",
        "instances": instances,
        "ports": http(),
        "options": {"target": target, **options},
    }
    with cluster(folder, [entry]) as running:
        host, port = running.wait_ready()["http"]
        yield running, f"{host}:{port}"


def test_fastapi_works_as_its_users_know_it(tmp_path: Path) -> None:
    with running(tmp_path, f"{APPS}:api") as (served, address):
        with httpx.Client(base_url=f"http://{address}") as browser:
            for at in range(20):
                answer = browser.get(f"/async/{at}", params={"q": "한"})
                assert answer.json() == {"item": at, "q": "한", "cancelled": True}
                assert browser.get("/sync").json() == {"state": "connected"}
            assert browser.get("/async/word").status_code == 422
            assert browser.get("/openapi.json").json()["info"]["title"] == "FastAPI"
            blob = os.urandom(3_000_000)
            answer = browser.post("/upload", files={"file": ("blob", blob)})
            assert answer.json() == {"name": "blob", "size": 3_000_000}
            before = browser.get("/background").json()["before"]
            assert until(lambda: browser.get("/done").json()["done"]) == before + 1
            assert browser.get("/fails").status_code == 500
            with browser.stream("GET", "/stream") as stream:
                lines = stream.iter_lines()
                assert [next(lines) for _ in range(3)] == ["part 0", "part 1", "part 2"]
                assert httpx.get(f"http://{address}/done").json()["streams"] == 1
            until(lambda: browser.get("/done").json()["streams"] == 0)
        with client.connect(f"ws://{address}/ws", subprotocols=[Subprotocol("chat")]) as socket:
            socket.send("hello")
            assert json.loads(socket.recv()) == {"said": "hello", "database": "connected"}
            assert socket.subprotocol == "chat"
        assert "meant to fail" in until(lambda: served.log("web"))
        assert served.stop() == 0
        assert "the application has shut down" in served.log("web")


def test_many_requests_at_once_keep_their_own_context(tmp_path: Path) -> None:
    with running(tmp_path, f"{APPS}:starlette", instances=2) as (_, address):

        def ask(at: int) -> None:
            with httpx.Client(base_url=f"http://{address}") as browser:
                for turn in range(10):
                    path = f"/house/{at}-{turn}"
                    answer = browser.post(path, content=b"x" * (at * 1_000))
                    assert answer.json() == {
                        "variable": path,
                        "size": at * 1_000,
                        "url": f"http://{address}{path}",
                    }
                    assert answer.headers["x-before"] == "none"

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(16)))
        answer = httpx.get(f"http://{address}/file")
        assert answer.text == (Path(__file__).parent / "asgi_apps.py").read_text()
        with pytest.raises(InvalidStatus) as refused:
            client.connect(f"ws://{address}/deny")
        assert refused.value.response.status_code == 418
        assert refused.value.response.body == b"not today"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_gets_the_example(tmp_path: Path) -> None:
    with running(tmp_path, "examples/hello.py:app") as (_, address):
        for more in (["-0"], ["--http2"], ["--data", "x" * 5_000, "-H", "Expect: 100-continue"]):
            command = ["curl", "--silent", "--show-error", "--max-time", "5", *more]
            said = subprocess.run(
                [*command, f"http://{address}/"], capture_output=True, check=True, text=True
            )
            assert said.stdout == "Hello, World!\n"
        head = subprocess.run(
            ["curl", "--silent", "--head", f"http://{address}/"], capture_output=True, check=True
        )
        assert b"content-length: 14" in head.stdout


def test_tls_by_settings(tmp_path: Path) -> None:
    pair: dict[str, Any] = {
        "tls_cert": str(CERTIFICATES / "first.crt"),
        "tls_key": str(CERTIFICATES / "first.key"),
    }
    with running(tmp_path, f"{APPS}:starlette", **pair) as (_, address):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with httpx.Client(base_url=f"https://{address}", verify=context) as browser:
            for _ in range(2):
                answer = browser.get("/house/a").json()
                assert answer["url"] == f"https://{address}/house/a"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (f"{APPS}:broken", "the database is not there"),
        ("tests.e2e.nowhere:app", "no module"),
        (f"{APPS}:VARIABLE", "cannot be called"),
    ],
)
def test_an_application_that_cannot_start_says_why(
    tmp_path: Path, target: str, reason: str
) -> None:
    entry: dict[str, Any] = {
        "name": "web",
        "target": "madang.edge.asgi.process:main",
        "ports": http(),
        "options": {"target": target},
    }
    with cluster(tmp_path, [entry]) as failing:
        until(lambda: reason in failing.log("web"))
        assert "the application did not start" in until(lambda: failing.log("web"))
        assert all(row["state"] != "ready" for row in failing.ask("ls")["rows"])


def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    with running(tmp_path, f"{APPS}:api") as (served, address):

        async def main() -> None:
            async with httpx.AsyncClient(base_url=f"http://{address}") as browser:
                asked = [asyncio.create_task(browser.get("/hold")) for _ in range(20)]
                while (await browser.get("/done")).json()["streams"] < 20:
                    await asyncio.sleep(0.01)
                stopping = asyncio.create_task(asyncio.to_thread(served.stop))
                assert [(await task).status_code for task in asked] == [200] * 20
                assert await stopping == 0

        asyncio.run(main())
