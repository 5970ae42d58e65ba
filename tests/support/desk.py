"""An application for tests of the edge: handlers that answer, wait, fail and refuse."""

from __future__ import annotations

import asyncio

import msgspec

from madang.edge import (
    ApiError,
    Application,
    EdgeSettings,
    Operation,
    Pages,
    Principal,
    Request,
    Response,
    Role,
    Route,
    json_response,
)

SECRET = "never-tell"


class Order(msgspec.Struct):
    symbol: str
    qty: int


class Desk:
    """An application whose handlers wait until told."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.handled: list[str] = []

    def hello(self, request: Request) -> Response:
        self.handled.append(request.path)
        return json_response({"path": request.path, "peer": request.peer, **request.parameters})

    def order(self, request: Request) -> Response:
        return json_response(request.json(Order), 201)

    async def wait(self, request: Request) -> Response:
        await self.gate.wait()
        self.handled.append(request.path)
        return json_response({"waited": True})

    async def fail(self, request: Request) -> Response:
        await asyncio.sleep(0)
        raise RuntimeError(SECRET)

    def refuse(self, request: Request) -> Response:
        raise ApiError(403, "insufficient buying power", 40_310_000, buying_power="1.5")

    def large(self, request: Request) -> Response:
        return Response(200, b"x" * 200_000, "application/octet-stream")

    def split(self, request: Request) -> Response:
        return Response(200, b"", headers=(("x", "a\r\nb: c"),))

    def application(self, pages: Pages | None = None) -> Application:
        def route(method: str, path: str, handler: object, role: Role = Role.PUBLIC) -> Route:
            return Route(method, path, handler, role, Operation(path, responses={200: dict}))  # type: ignore[arg-type]

        return Application(
            routes=(
                route("GET", "/hello/{name}", self.hello),
                route("POST", "/orders", self.order),
                route("GET", "/wait", self.wait),
                route("GET", "/fail", self.fail),
                route("GET", "/refuse", self.refuse),
                route("GET", "/large", self.large),
                route("GET", "/split", self.split),
                route("POST", "/trade", self.hello, Role.TRADER),
            ),
            authenticator=Keys(),
            pages=pages,
        )


class Keys:
    def authenticate(self, request: Request) -> Principal | None:
        if request.headers.get("apca-api-key-id") == "trader":
            return Principal(1, Role.TRADER, "trader", by_cookie=False)
        if request.cookie("session") == "s":
            return Principal(1, Role.TRADER, "page", by_cookie=True)
        return None


def settings(**changes: object) -> EdgeSettings:
    return msgspec.convert({"sweep_interval_ms": 10, **changes}, EdgeSettings)
