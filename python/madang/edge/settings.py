"""Limits and switches of the edge, each with a name; reached limits answer as the comment says."""

from __future__ import annotations

import ipaddress

import msgspec

from madang.edge.tls import TlsSettings


class EdgeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one worker's HTTP and WebSocket front."""

    header_bytes_max: int = 16_384  # 431
    body_bytes_max: int = 65_536  # 413
    header_timeout_ms: int = 5_000  # 408
    body_timeout_ms: int = 10_000  # 408
    idle_timeout_ms: int = 60_000  # closed
    send_timeout_ms: int = 30_000  # a peer that does not read: cut
    linger_timeout_ms: int = 1_000  # after a refusal: input is discarded, then cut
    handler_timeout_ms: int = 30_000  # 503, outcome unknown
    connections_max: int = 20_000  # 503
    connections_per_address_max: int = 10_000  # 503
    requests_in_flight_max: int = 4_096  # 503, nothing was done
    pipelined_requests_max: int = 16  # reading stops
    query_fields_max: int = 100  # 400
    websocket_message_bytes_max: int = 65_536  # close 1009
    websocket_messages_per_s_max: int = 500  # close 4502
    websocket_authentication_timeout_ms: int = 10_000  # close 4500
    websocket_send_buffer_bytes: int = 131_072  # in the kernel; then the outbox fills
    ping_interval_ms: int = 20_000
    pong_timeout_ms: int = 10_000  # close 4002
    close_timeout_ms: int = 2_000  # a close frame is not answered: cut
    drain_websockets_per_s: int = 500  # pace of closing at a drain
    sweep_interval_ms: int = 250  # how late a time-out may be noticed
    trusted_proxies: tuple[str, ...] = ()
    proxy_protocol: bool = False  # every connection begins with a PROXY header of a trusted proxy
    allowed_origins: tuple[str, ...] = ()
    csrf_cookie: str = "madang_csrf"
    tls_cert: str = ""
    tls_key: str = ""
    tls_check_interval_ms: int = 5_000
    tls_handshake_timeout_ms: int = 5_000

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if type(value) is int and value <= 0:
                raise ValueError(f"{name} must be positive")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key go together")
        if self.proxy_protocol and not self.trusted_proxies:
            raise ValueError("proxy_protocol needs trusted_proxies: who may say an address")
        if self.proxy_protocol and self.tls_cert:
            raise ValueError("proxy_protocol and tls_cert exclude each other: end TLS in front")
        for network in self.trusted_proxies:
            ipaddress.ip_network(network, strict=False)

    @property
    def tls(self) -> TlsSettings:
        """What the server's TLS is told."""
        return TlsSettings(
            self.tls_cert, self.tls_key, self.tls_check_interval_ms, self.tls_handshake_timeout_ms
        )
