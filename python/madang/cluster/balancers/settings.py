"""What a balancer's configuration is made from: `[balancer]`, and the limits of the edge behind it.

Every time-out of the balancer follows from one of the edge's, so that the balancer is never the
first to give up: it waits longer than a handler may take and than the pause between two pings, and
lets an idle connection to the edge go before the edge does.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import msgspec

from madang.core.errors import MadangError

NODES_MAX = 256
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
FILE_PATH = re.compile(r"[\w./@+-]{0,1024}")
PORT_MAX = 65_535


class BalancerError(MadangError):
    """A configuration that cannot be written from these settings."""


class BalancerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[balancer]` of madang.toml."""

    nodes: tuple[str, ...] = ()  # "host:port" of each machine; empty: this one
    server_name: str = "_"  # the name that clients use; "_": any
    tls_cert: str = ""  # on the balancer: full chain, for HAProxy certificate and key in one file
    tls_key: str = ""
    listen_port: int = 0  # 0: 443 with a certificate, else 80
    agent_port: int = 0  # 0: no agent
    health_port: int = 0  # this machine's health without PROXY header, for an NLB; 0: none
    drain_timeout_s: int = 300  # how long connections of a removed machine may live on
    slow_start_s: int = 30  # HAProxy: a machine that came back gets its full share after this
    connections_per_node_max: int = 60_000

    def __post_init__(self) -> None:
        if len(self.nodes) > NODES_MAX:
            raise ValueError(f"nodes: expected at most {NODES_MAX}")
        for node in self.nodes:
            split_node(node)
        if self.server_name != "_" and not HOST_NAME.fullmatch(self.server_name):
            raise ValueError("server_name: expected a host name")
        for path in (self.tls_cert, self.tls_key):
            if not FILE_PATH.fullmatch(path):
                raise ValueError("tls_cert, tls_key: expected paths without blanks and quotes")
        for port in (self.listen_port, self.agent_port, self.health_port):
            if not 0 <= port <= PORT_MAX:
                raise ValueError(f"expected ports from 0 to {PORT_MAX}")
        if min(self.drain_timeout_s, self.slow_start_s, self.connections_per_node_max) <= 0:
            raise ValueError("expected times and limits above 0")

    @property
    def port(self) -> int:
        """Return where the balancer listens."""
        return self.listen_port or (443 if self.tls_cert else 80)


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """The limits of the edge that a balancer must respect; names as in `[edge]`."""

    body_bytes_max: int
    header_bytes_max: int
    header_timeout_ms: int
    handler_timeout_ms: int
    idle_timeout_ms: int
    ping_interval_ms: int
    pong_timeout_ms: int
    proxy_protocol: bool = False


@dataclass(frozen=True, slots=True)
class Balancing:
    """Everything one configuration says; `down` nodes get nothing new."""

    settings: BalancerSettings
    limits: EdgeLimits
    nodes: tuple[str, ...]
    down: frozenset[str] = frozenset()
    is_market: bool = True
    """Whether behind it are our workers, which answer `/healthz` and keep `/metrics`; an
    application of one's own has all paths for itself."""

    def __post_init__(self) -> None:
        if not self.nodes:
            raise BalancerError("no machine to balance over: give [balancer] nodes or --node")
        for node in self.nodes:
            try:
                split_node(node)
            except ValueError as error:
                raise BalancerError(str(error), node=node) from error
        unknown = self.down - set(self.nodes)
        if unknown:
            text = f"{', '.join(sorted(unknown))} is not among the nodes {', '.join(self.nodes)}"
            raise BalancerError(text)
        if self.down == set(self.nodes):
            raise BalancerError("every node would be down: leave at least one")

    @property
    def silence_s(self) -> int:
        """How long a connection may say nothing: two missed pings, and any handler's time."""
        ping_ms = 2 * (self.limits.ping_interval_ms + self.limits.pong_timeout_ms)
        return seconds(max(ping_ms, self.limits.handler_timeout_ms + 5_000))

    @property
    def asks_health(self) -> bool:
        """Whether a balancer can ask a machine how it is."""
        return self.is_market or self.settings.health_port > 0

    @property
    def checked_port(self) -> int:
        """Where the balancer asks; 0: where it sends requests."""
        return 0 if self.is_market else self.settings.health_port

    @property
    def keep_alive_s(self) -> int:
        """How long an idle connection to the edge is kept: less than the edge keeps it."""
        return max(1, self.limits.idle_timeout_ms * 3 // 4_000)


def seconds(milliseconds: int) -> int:
    """Return whole seconds, rounded up."""
    return -(-milliseconds // 1_000)


def split_node(node: str) -> tuple[str, int]:
    """Return host and port of "host:port" or "[::1]:port". Raises ValueError."""
    host, _, port = node.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= PORT_MAX:
        raise ValueError(f"node {node!r}: expected host:port")
    if host.startswith("[") and host.endswith("]"):
        ipaddress.IPv6Address(host[1:-1])
    elif not HOST_NAME.fullmatch(host):
        raise ValueError(f"node {node!r}: expected host:port")
    return host, int(port)
