"""Applications as their users write them, run unmodified by the tests."""

from __future__ import annotations

import asyncio
import contextvars
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import anyio
from fastapi import BackgroundTasks, Depends, FastAPI, Request, UploadFile, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request as StarletteRequest
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket as StarletteWebSocket

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="none")
done: list[str] = []
streams = {"open": 0}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"database": "connected"}
    print("the application has shut down", flush=True)


api = FastAPI(lifespan=lifespan)


def number(request: Request) -> str:
    return f"{request.state.database} {os.getpid()}"


@api.get("/sync")
def sync_endpoint(word: Annotated[str, Depends(number)]) -> dict[str, str]:
    time.sleep(0.001)
    return {"state": word.split()[0]}


@api.get("/async/{item}")
async def async_endpoint(item: int, q: str = "") -> dict[str, object]:
    async with asyncio.timeout(5):
        await anyio.sleep(0.001)
    with anyio.move_on_after(0.005) as scope:
        await anyio.sleep(10)
    return {"item": item, "q": q, "cancelled": scope.cancelled_caught}


@api.post("/upload")
async def upload(file: UploadFile) -> dict[str, object]:
    return {"name": file.filename, "size": len(await file.read())}


@api.get("/background")
async def background(tasks: BackgroundTasks) -> dict[str, int]:
    tasks.add_task(done.append, "background")
    return {"before": len(done)}


@api.get("/done")
async def how_many() -> dict[str, int]:
    return {"done": len(done), "streams": streams["open"]}


@api.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        streams["open"] += 1
        try:
            for at in range(1_000):
                yield b"part %d\n" % at
                await asyncio.sleep(0 if at < 5 else 1)
        finally:
            streams["open"] -= 1

    return StreamingResponse(parts(), media_type="text/plain")


@api.get("/hold")
async def hold() -> dict[str, bool]:
    streams["open"] += 1
    await asyncio.sleep(0.5)
    return {"held": True}


@api.get("/fails")
async def fails() -> None:
    raise LookupError("meant to fail")


@api.websocket("/ws")
async def talk(socket: WebSocket) -> None:
    await socket.accept(subprotocol="chat")
    async for text in socket.iter_text():
        await socket.send_json({"said": text, "database": socket.state.database})


class Marks(BaseHTTPMiddleware):
    async def dispatch(
        self, request: StarletteRequest, call_next: RequestResponseEndpoint
    ) -> Response:
        before = VARIABLE.get()
        VARIABLE.set(request.url.path)
        response = await call_next(request)
        response.headers["x-before"] = before
        return response


async def home(request: StarletteRequest) -> JSONResponse:
    body = await request.body()
    return JSONResponse({"variable": VARIABLE.get(), "size": len(body), "url": str(request.url)})


async def this_file(request: StarletteRequest) -> FileResponse:
    return FileResponse(__file__)


async def deny(socket: StarletteWebSocket) -> None:
    await socket.send_denial_response(PlainTextResponse("not today", 418))


starlette = Starlette(
    routes=[
        Route("/house/{name}", home, methods=["GET", "POST"]),
        Route("/file", this_file),
        WebSocketRoute("/deny", deny),
    ],
    middleware=[Middleware(Marks)],
)


@asynccontextmanager
async def broken_lifespan(app: Starlette) -> AsyncIterator[None]:
    raise RuntimeError("the database is not there")
    yield


broken = Starlette(lifespan=broken_lifespan)
