"""A server for unmodified ASGI 3 applications: HTTP/1.1, WebSocket and lifespan on one event loop.

`process.py` is the cluster's role, `server.py` the listener, `http_protocol.py` and `http_call.py`
one connection and one request on it, `websocket_protocol.py` what an upgrade becomes, `stepper.py`
why an application that never waits costs no task.
"""
