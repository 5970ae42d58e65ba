"""The hello server as a plain ASGI application; no framework, nothing of Madang.

    madang start examples/hello.py:app -i max
"""

HEADERS = [(b"content-type", b"text/plain; charset=utf-8")]


async def app(scope, receive, send):
    """Answer every request with the same line."""
    if scope["type"] != "http":
        raise NotImplementedError(f"{scope['type']} is not served here")
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"Hello, World!\n"})
