"""What an ASGI application is run with: target, limits and switches, each with a name."""

from __future__ import annotations

import ipaddress
from typing import Literal

import msgspec

from madang.edge.settings import EdgeSettings
from madang.edge.tls import TlsSettings

_MAY_BE_ZERO = frozenset(("request_timeout_ms",))

_OF_THE_HUB = (
    "send_timeout_ms",
    "connections_max",
    "connections_per_address_max",
    "ping_interval_ms",
    "pong_timeout_ms",
    "close_timeout_ms",
    "drain_websockets_per_s",
    "sweep_interval_ms",
    "trusted_proxies",
)


class AsgiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the role `madang.edge.asgi.process:main`; the comment says what a limit does."""

    target: str  # "package.module:app" or "file.py:app"; what follows the colon may have dots
    factory: bool = False  # the target is called without arguments and returns the application
    directory: str = ""  # put first on the module path; empty: the working directory
    root_path: str = ""  # where a proxy has mounted the application
    lifespan: Literal["auto", "on", "off"] = "auto"
    startup_timeout_ms: int = 50_000  # start fails
    shutdown_timeout_ms: int = 5_000  # the lifespan task is cancelled
    drain_grace_ms: int = 500  # at a drain, for the first request of a new connection
    drain_timeout_ms: int = 8_000  # what still runs is cancelled, connections are cut
    access_log: bool = False  # one JSON line for each answer
    server_header: bool = True
    header_bytes_max: int = 65_536  # 431
    body_bytes_max: int = 1_073_741_824  # 413
    body_buffer_bytes: int = 65_536  # of a body the application has not taken: reading stops
    discard_bytes_max: int = 65_536  # of a body the application left unread: connection ends
    write_buffer_bytes: int = 65_536  # send() waits until the peer has read
    header_timeout_ms: int = 10_000  # 408
    body_timeout_ms: int = 30_000  # silence inside a body: 408
    body_bytes_per_s_min: int = 128  # slower than this for body_timeout_ms: 408
    idle_timeout_ms: int = 75_000  # closed between requests
    send_timeout_ms: int = 30_000  # a peer that does not read: cut
    request_timeout_ms: int = 0  # the application is cancelled, 503; 0: never
    linger_timeout_ms: int = 1_000  # after a refusal: input is discarded, then cut
    connections_max: int = 20_000  # 503
    connections_per_address_max: int = 20_000  # 503
    requests_in_flight_max: int = 10_000  # 503
    pipelined_requests_max: int = 16  # reading stops
    websocket_message_bytes_max: int = 16_777_216  # close 1009
    websocket_queue_messages: int = 32  # not yet received by the application: reading stops
    websocket_open_timeout_ms: int = 30_000  # neither accepted nor refused: 503
    ping_interval_ms: int = 20_000
    pong_timeout_ms: int = 20_000  # close 1011
    close_timeout_ms: int = 5_000  # a close frame is not answered: cut
    drain_websockets_per_s: int = 500  # pace of closing 1012 at a drain
    sweep_interval_ms: int = 250  # how late a time-out may be noticed
    trusted_proxies: tuple[str, ...] = ()  # their X-Forwarded-For and -Proto are believed
    proxy_protocol: bool = False  # every connection begins with PROXY v1 or v2
    tls_cert: str = ""
    tls_key: str = ""
    tls_check_interval_ms: int = 5_000
    tls_handshake_timeout_ms: int = 5_000

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if type(value) is int and (value < 0 or (value == 0 and name not in _MAY_BE_ZERO)):
                raise ValueError(f"{name} must be positive")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key go together")
        if self.tls_cert and self.proxy_protocol:
            raise ValueError("proxy_protocol needs TLS to end at the proxy: leave tls_cert out")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise ValueError("root_path begins with a slash and does not end with one")
        for network in self.trusted_proxies:
            ipaddress.ip_network(network, strict=False)

    @property
    def hub(self) -> EdgeSettings:
        """What the WebSocket endpoints of the application's hub are served with."""
        return EdgeSettings(**{name: getattr(self, name) for name in _OF_THE_HUB})

    @property
    def tls(self) -> TlsSettings:
        """What the server's TLS is told."""
        return TlsSettings(
            self.tls_cert, self.tls_key, self.tls_check_interval_ms, self.tls_handshake_timeout_ms
        )
