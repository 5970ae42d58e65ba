"""The HTTP and WebSocket front of a worker: routes, roles, limits, errors, pages."""
