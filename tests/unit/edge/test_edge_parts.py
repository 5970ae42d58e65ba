"""The edge's pure parts: router, guard, request, response, settings, eager start."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from madang.core.errors import SettingsError
from madang.core.settings import decode_section
from madang.edge import ApiError, EdgeSettings, Headers, Principal, Request, Response, Role, eager
from madang.edge.errors import MALFORMED, default_code
from madang.edge.guard import Proxies, authorize, check_cross_site, check_origin
from madang.edge.response import encode_head
from madang.edge.router import RouteError, Router
from madang.edge.tls import Certificate


def request(method: str = "GET", path: str = "/", query: bytes = b"", **headers: str) -> Request:
    raw = {k.replace("_", "-").encode(): v.encode() for k, v in headers.items()}
    return Request(method, path, query, Headers(raw))


def router(*templates: str) -> Router[str]:
    made: Router[str] = Router()
    for template in templates:
        made.add("GET", template, template)
    return made


@pytest.mark.parametrize(
    ("path", "template", "parameters"),
    [
        ("/v2/orders", "/v2/orders", {}),
        ("/v2/orders:by_client_order_id", "/v2/orders:by_client_order_id", {}),
        ("/v2/orders%3Aby_client_order_id", "/v2/orders:by_client_order_id", {}),
        ("/v2/orders/7", "/v2/orders/{order_id}", {"order_id": "7"}),
        ("/v2/orders/a%2Fb", "/v2/orders/{order_id}", {"order_id": "a/b"}),
        ("/v2/orders/%EA%B0%80", "/v2/orders/{order_id}", {"order_id": "가"}),
        ("/v2/orders/open", "/v2/orders/open", {}),
        ("/v2/orders/open/7", "/v2/orders/{order_id}/{part}", {"order_id": "open", "part": "7"}),
        ("/", "/", {}),
    ],
)
def test_paths_find_their_template(path: str, template: str, parameters: dict[str, str]) -> None:
    table = router(
        "/",
        "/v2/orders",
        "/v2/orders:by_client_order_id",
        "/v2/orders/{order_id}",
        "/v2/orders/open",
        "/v2/orders/{order_id}/{part}",
    )
    match = table.match(path)
    assert match is not None
    assert (match.methods["GET"], match.parameters) == (template, parameters)


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/orders/", "/v2/orders/7/", "//", "*", "/v2//orders", ""]
)
def test_other_paths_find_nothing(path: str) -> None:
    assert router("/v2/orders", "/v2/orders/{order_id}").match(path) is None


def test_a_path_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        router("/v2/{x}").match("/v2/%FF")
    assert caught.value.status == 400


def test_a_table_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(RouteError):
        router("/a", "/a")
    table = router("/a/{x}")
    with pytest.raises(RouteError):
        table.add("POST", "/a/{y}", "y")


class Known:
    def authenticate(self, asked: Request) -> Principal | None:
        role = asked.headers.get("x-role")
        return None if role is None else Principal(1, Role(role), "k", by_cookie=False)


@pytest.mark.parametrize(
    ("needed", "given", "status"),
    [
        (Role.PUBLIC, None, 200),
        (Role.VIEWER, None, 401),
        (Role.VIEWER, "viewer", 200),
        (Role.TRADER, "viewer", 403),
        (Role.TRADER, "trader", 200),
        (Role.VIEWER, "admin", 200),
        (Role.ADMIN, "trader", 403),
    ],
)
def test_roles(needed: Role, given: str | None, status: int) -> None:
    asked = request(x_role=given) if given else request()
    try:
        authorize(asked, needed, Known())
        assert status == 200
    except ApiError as error:
        assert error.status == status  # noqa: PT017 - both outcomes are cases of one table
    assert (asked.principal is not None) == (status == 200 and needed is not Role.PUBLIC)


def test_nobody_passes_without_an_authenticator() -> None:
    with pytest.raises(ApiError):
        authorize(request(), Role.VIEWER, None)


@pytest.mark.parametrize(
    ("method", "by_cookie", "token", "allowed"),
    [
        ("POST", False, "", True),
        ("GET", True, "", True),
        ("POST", True, "", False),
        ("DELETE", True, "wrong", False),
        ("POST", True, "secret", True),
    ],
)
def test_unsafe_methods_by_cookie_need_the_token(
    method: str, by_cookie: bool, token: str, allowed: bool
) -> None:
    asked = request(method, cookie="a=1; madang_csrf=secret", x_csrf_token=token)
    asked.principal = Principal(1, Role.TRADER, "k", by_cookie)
    try:
        check_cross_site(asked, EdgeSettings())
        assert allowed
    except ApiError as error:
        assert (error.status, allowed) == (403, False)  # noqa: PT017


def test_a_token_that_is_known_counts_more_than_the_cookie_that_came_with_it() -> None:
    asked = request("POST", cookie="madang_csrf=mine", x_csrf_token="mine")
    asked.principal = Principal(1, Role.TRADER, "k", by_cookie=True, csrf="the session's")
    with pytest.raises(ApiError, match="X-CSRF-Token"):
        check_cross_site(asked, EdgeSettings())


@pytest.mark.parametrize(
    ("headers", "by_cookie", "allowed"),
    [
        ({}, False, True),
        ({"origin": "https://evil.test"}, False, True),  # no cookie: nothing to abuse
        ({"cookie": "s=1"}, False, True),
        ({"cookie": "s=1", "origin": "https://evil.test"}, False, False),
        ({"cookie": "s=1", "origin": "null"}, True, False),
        ({"cookie": "s=1"}, True, False),
        ({"cookie": "s=1", "origin": "http://madang.test:8000"}, True, True),
        ({"cookie": "s=1", "origin": "https://partner.test"}, True, True),
    ],
)
def test_websockets_with_cookies_check_the_origin(
    headers: dict[str, str], by_cookie: bool, allowed: bool
) -> None:
    asked = request("GET", "/", b"", host="madang.test:8000", **headers)
    if by_cookie:
        asked.principal = Principal(1, Role.VIEWER, "k", by_cookie=True)
    try:
        check_origin(asked, EdgeSettings(allowed_origins=("https://partner.test",)))
        assert allowed
    except ApiError as error:
        assert (error.status, allowed) == (403, False)  # noqa: PT017


def test_forwarded_addresses_are_believed_only_from_our_proxies() -> None:
    proxies = Proxies(("10.0.0.0/8",))
    assert proxies.client("1.2.3.4", "9.9.9.9") == "1.2.3.4"
    assert proxies.client("10.0.0.1", "9.9.9.9, 8.8.8.8, 10.0.0.2") == "8.8.8.8"
    assert proxies.client("10.0.0.1", "nonsense") == "10.0.0.1"
    assert proxies.client("10.0.0.1", None) == "10.0.0.1"


class Order(msgspec.Struct):
    symbol: str
    qty: int


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"symbol":"A","qty":1}', "application/json", 200),
        (b'{"symbol":"A","qty":1}', "application/json; charset=utf-8", 200),
        (b'{"symbol":"A","qty":1}', "text/plain", 415),
        (b'{"symbol":"A"}', "application/json", 422),
        (b'{"symbol":"A","qty":"1"}', "application/json", 422),
        (b'{"symbol":"A","qty":NaN}', "application/json", 400),
        (b'{"symbol":"A","qty":1e400}', "application/json", 422),
        (b'{"symbol":"A",', "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"symbol":"\xff","qty":1}', "application/json", 400),
        (b"[" * 30_000, "application/json", 422),
        (b'{"x":' * 10_000, "application/json", 400),
    ],
)
def test_bodies_are_decoded_or_refused(body: bytes, content_type: str, status: int) -> None:
    asked = request("POST", content_type=content_type)
    asked.body = body
    try:
        assert asked.json(Order) == Order("A", 1)
        assert status == 200
    except ApiError as error:
        code = MALFORMED if status == 422 else default_code(status)
        assert (error.status, error.code) == (status, code)  # noqa: PT017


class Filter(msgspec.Struct):
    limit: int = 50
    after: int | None = None
    nested: bool = False


def test_query_parameters() -> None:
    assert request(query=b"a=1&a=2&b=&c=%20").query() == {"a": "2", "b": "", "c": " "}
    assert request(query=b"limit=7&nested=true&other=x").query_as(Filter) == Filter(7, None, True)
    for query, status in [
        (b"limit=x", 422),
        (b"after=null", 422),
        (b"a=%FF", 400),
        (b"\xff", 400),
        (b"a=1&" * 101, 400),
    ]:
        with pytest.raises(ApiError) as caught:
            request(query=query).query_as(Filter)
        assert caught.value.status == status


def test_a_header_cannot_be_split() -> None:
    for bad in [("x", "a\rb"), ("x", "a\nb"), ("x", "a\0b"), ("x y", "a"), ("x\n", "a"), ("", "a")]:
        with pytest.raises(ValueError, match="cannot be sent"):
            encode_head(Response(headers=(bad,)), "now", "id", close=False)


def test_bodyless_statuses_say_no_length() -> None:
    assert b"content-length" not in encode_head(Response(204), "now", "id", close=False)
    assert b"content-length: 0\r\n" in encode_head(Response(200), "now", "id", close=False)


@pytest.mark.parametrize(
    "table",
    [{"body_bytes_max": 0}, {"unknown": 1}, {"tls_cert": "x"}, {"trusted_proxies": ["x"]}],
)
def test_settings_are_refused_by_name(table: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        decode_section(EdgeSettings, table, "madang.toml", "edge")


def test_a_missing_certificate_is_a_settings_error() -> None:
    with pytest.raises(SettingsError):
        Certificate("/nonexistent/cert", "/nonexistent/key")


def test_a_coroutine_that_never_waits_needs_no_task() -> None:
    async def quick() -> int:
        assert asyncio.current_task() is not None
        return 7

    async def main() -> None:
        loop = asyncio.get_running_loop()
        results: list[object] = []
        loop.call_soon(lambda: results.append(eager.start(loop, quick())))
        await asyncio.sleep(0.001)
        assert results == [(7, None)]

    asyncio.run(main())


def test_a_coroutine_that_waits_goes_on_as_a_task_with_its_timeouts_and_groups() -> None:
    async def patient() -> str:
        async with asyncio.timeout(5):
            await asyncio.sleep(0.001)
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(5)
        except TimeoutError:
            return "timed out"
        return "never"

    async def strict() -> str:
        try:
            async with asyncio.timeout(0.001):  # begun in the first step
                await asyncio.sleep(5)
        except TimeoutError:
            return "timed out"
        return "never"

    async def grouped() -> str:
        async with asyncio.TaskGroup() as group:
            inner = group.create_task(asyncio.sleep(0.001, "inner"))
        return inner.result()

    async def failing() -> str:
        await asyncio.sleep(0)
        raise KeyError("late")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        started: list[asyncio.Task[str]] = []

        def start() -> None:
            for coroutine in (patient(), strict(), grouped(), failing()):
                _, task = eager.start(loop, coroutine)
                assert task is not None
                started.append(task)

        loop.call_soon(start)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        results = await asyncio.gather(*started, return_exceptions=True)
        assert results[:3] == ["timed out", "timed out", "inner"]
        assert isinstance(results[3], KeyError)

    asyncio.run(main())


def test_a_waiting_coroutine_sees_its_cancellation() -> None:
    seen: list[str] = []

    async def patient() -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main() -> None:
        loop = asyncio.get_running_loop()
        started: list[asyncio.Task[None]] = []

        def start() -> None:
            task = eager.start(loop, patient())[1]
            assert task is not None
            started.append(task)

        loop.call_soon(start)
        await asyncio.sleep(0.001)
        started[0].cancel()
        await asyncio.gather(*started, return_exceptions=True)

    asyncio.run(main())
    assert seen == ["cancelled"]
