"""What a worker says about itself, and the pages it serves."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from madang.edge import Pages, Role
from tests.support.desk import SECRET, Desk, settings
from tests.support.edge import Running, get, post, run, serving


async def fetch(running: Running, question: bytes) -> bytes:
    client = await running.connect()
    client.send(question)
    answer = await client.answer()
    client.close()
    assert answer.status == 200
    return answer.body


def test_metrics_openapi_and_docs_describe_this_worker() -> None:
    async def main() -> None:
        async with serving(Desk().application()) as running:
            metrics = (await fetch(running, get("/metrics"))).decode()
            assert "# TYPE madang_http_responses_total counter" in metrics
            assert "madang_websockets 0" in metrics
            document = json.loads(await fetch(running, get("/openapi.json")))
            assert document["openapi"] == "3.1.0"
            trade = document["paths"]["/trade"]["post"]
            assert set(trade["responses"]) >= {"200", "400", "401", "403", "500", "503"}
            assert trade["security"] == [{"key_id": [], "secret_key": []}]
            assert document["paths"]["/hello/{name}"]["get"]["parameters"][0]["name"] == "name"
            docs = (await fetch(running, get("/docs"))).decode()
            assert "/trade" in docs
            assert "<script" not in docs

    run(main)


def test_every_route_declares_a_role() -> None:
    async def main() -> None:
        async with serving(Desk().application()) as running:
            assert {type(route.role) for route in running.server.routes} == {Role}
            public = {r.path for r in running.server.routes if r.role is Role.PUBLIC}
            assert {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"} <= public

    run(main)


def test_pages_are_cached_compressed_and_confined(tmp_path: Path) -> None:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text(SECRET)
    (folder / "index.html").write_text("<!doctype html>" + "<p>trade</p>" * 200)
    (folder / "assets" / "app-B1c2D3e4.js").write_text("let a = 1;\n" * 300)

    async def main() -> None:
        pages = Pages(folder, ("/", "/trade/{symbol}"))
        async with serving(Desk().application(pages)) as running:
            client = await running.connect()
            client.send(get("/trade/AAPL", "Accept-Encoding: gzip, br"))
            page = await client.answer()
            assert gzip.decompress(page.body).startswith(b"<!doctype html>")
            assert page.headers["content-encoding"] == "gzip"
            assert page.headers["vary"] == "accept-encoding"
            assert page.headers["cache-control"] == "no-cache"
            assert "default-src 'none'" in page.headers["content-security-policy"]
            client.send(get("/", f"If-None-Match: {page.headers['etag']}"))
            assert (await client.answer()).status == 304
            client.send(get("/assets/app-B1c2D3e4.js"))
            script = await client.answer()
            assert "immutable" in script.headers["cache-control"]
            assert script.headers["content-type"].startswith("text/javascript")
            for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/assets/../../secret.txt"):
                client.send(get(path))
                assert (await client.answer()).status == 404
            client.send(post("/", b""))
            assert (await client.answer()).status == 405

    run(main)


def test_forwarded_addresses_count_only_from_trusted_proxies() -> None:
    async def main() -> None:
        question = get("/hello/a", "X-Forwarded-For: 203.0.113.9")
        for proxies, peer in ([], "127.0.0.1"), (["127.0.0.0/8"], "203.0.113.9"):
            limits = settings(trusted_proxies=proxies)
            async with serving(Desk().application(), limits) as running:
                assert json.loads(await fetch(running, question))["peer"] == peer

    run(main)
