"""The peer of bench.orders: FastAPI, pydantic, one SQL commit per order."""

import os
import sqlite3
import threading
import uuid
from datetime import UTC, datetime
from decimal import Decimal

from fastapi import FastAPI, Header
from pydantic import BaseModel

app = FastAPI()
_local = threading.local()


class OrderRequest(BaseModel):
    """The fields that the benchmark sends."""

    symbol: str
    qty: Decimal
    side: str
    type: str
    time_in_force: str
    limit_price: Decimal


def _database() -> sqlite3.Connection:
    connection = getattr(_local, "connection", None)
    if connection is None:
        connection = sqlite3.connect(os.environ["ORDERS_DATABASE"], timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, account TEXT, symbol TEXT,"
            " qty TEXT, side TEXT, type TEXT, tif TEXT, limit_price TEXT, status TEXT,"
            " created TEXT)"
        )
        _local.connection = connection
    return connection


@app.post("/v2/orders")
def place(order: OrderRequest, apca_api_key_id: str = Header()) -> dict[str, str]:
    """Insert one order, commit, answer."""
    order_id = str(uuid.uuid4())
    created = datetime.now(UTC).isoformat()
    connection = _database()
    with connection:
        connection.execute(
            "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                order_id, apca_api_key_id, order.symbol, str(order.qty), order.side, order.type,
                order.time_in_force, str(order.limit_price), "new", created,
            ),
        )  # fmt: skip
    return {
        "id": order_id,
        "status": "new",
        "symbol": order.symbol,
        "qty": str(order.qty),
        "side": order.side,
        "created_at": created,
    }
