"""A stock ticker: one process makes prices, every browser connected to any worker sees them.

madang start examples/ticker.py:app -i 2     the web front, see http://127.0.0.1:8000/
madang start examples/ticker.py              the prices
"""

import asyncio
import random

from madang import bus, hub

PAGE = """<!doctype html><title>Ticker</title><h1>Ticker</h1><pre id=prices></pre><script>
let last = ""
function open() {
  const socket = new WebSocket(`ws://${location.host}/ws?ticker=${last}`)
  socket.onmessage = ({data}) => {
    const message = JSON.parse(data)
    if (message.type == "message") prices.textContent = JSON.stringify(message.data, null, 2)
    if (message.epoch) last = `${message.epoch}.${message.offset}`
  }
  socket.onclose = () => setTimeout(open, 500 + 500 * Math.random())
}
open()</script>"""

hub.endpoint("/ws", channels=("ticker",))


async def app(scope, receive, send):
    """Answer every request with the page; the hub serves the WebSocket."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE.encode()})


async def make_prices():
    """Let prices wander, ten times a second."""
    prices = {"ACME": 10_000, "MADANG": 25_000}
    while True:
        prices = {symbol: price + random.randint(-50, 50) for symbol, price in prices.items()}
        await hub.broadcast("ticker", prices)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    bus.run(make_prices)
