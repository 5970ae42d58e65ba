"""HAProxy in front: a whole haproxy.cfg, for 2.4 and later.

HAProxy asks `/healthz`: 200 takes part, 404 drains (`disable-on-404`), anything else is down. With
`[balancer] agent_port` it also asks the agent of each machine, which says the share it can take.
An application of one's own is asked on `[balancer] health_port`; without one it is only connected.
"""

from __future__ import annotations

from madang.cluster.balancers.settings import Balancing, seconds, split_node

CHECK = "check inter 1s fall 2 rise 2"
TUNNEL_HOURS = 1
WEIGHT = 100
"""The agent's percents are of this, in whole numbers: of HAProxy's usual 1 a half would be 0."""


def haproxy_configuration(balancing: Balancing) -> str:
    """Return haproxy.cfg."""
    settings, limits = balancing.settings, balancing.limits
    return f"""\
# HAProxy in front of Madang, written by `madang balancer haproxy`.
# To drain a machine: `madang balancer drain` there; `madang balancer ready` brings it back.
# How many connections there may be follows from the open-file limit (systemd: LimitNOFILE).
global
    hard-stop-after {settings.drain_timeout_s}s
    close-spread-time {max(1, settings.drain_timeout_s // 2)}s
defaults
    mode http
    option http-no-delay
    option redispatch
    retries 2
    retry-on conn-failure empty-response 503
    timeout connect 2s
    timeout client {balancing.silence_s}s
    timeout server {balancing.silence_s}s
    timeout tunnel {TUNNEL_HOURS}h
    timeout client-fin 30s
    timeout http-request {seconds(limits.header_timeout_ms)}s
    timeout http-keep-alive {balancing.keep_alive_s}s
frontend madang
    {_bind(balancing)}
    # What may have been carried out is never sent twice: only reading is repeated.
    http-request disable-l7-retry unless METH_GET
{_refusals(balancing)}\
    http-request set-header X-Forwarded-Proto {"https" if settings.tls_cert else "http"}
    option forwardfor
    default_backend madang
backend madang
    balance leastconn
{_health(balancing)}    default-server {_default_server(balancing)}
{_servers(balancing)}
"""


def _refusals(balancing: Balancing) -> str:
    kept = ["deny if { path /metrics }"] if balancing.is_market else []
    large = f"deny deny_status 413 if {{ req.body_size gt {balancing.limits.body_bytes_max} }}"
    return "".join(f"    http-request {rule}\n" for rule in (*kept, large))


def _health(balancing: Balancing) -> str:
    if not balancing.asks_health:
        return ""
    lines = ("option httpchk GET /healthz", "http-check expect status 200")
    return "".join(f"    {line}\n" for line in (*lines, "http-check disable-on-404"))


def _bind(balancing: Balancing) -> str:
    settings = balancing.settings
    if not settings.tls_cert:
        return f"bind :{settings.port}"
    return f"bind :{settings.port} ssl crt {settings.tls_cert} alpn h2,http/1.1"


def _default_server(balancing: Balancing) -> str:
    settings = balancing.settings
    checked = balancing.checked_port
    words = [CHECK, *([f"port {checked}"] if checked else [])]
    words += [f"weight {WEIGHT}", f"slowstart {settings.slow_start_s}s"]
    words.append(f"maxconn {settings.connections_per_node_max}")
    if settings.agent_port:
        words.append(f"agent-check agent-port {settings.agent_port} agent-inter 1s")
    if balancing.limits.proxy_protocol:
        words.append("send-proxy-v2" if checked else "send-proxy-v2 check-send-proxy")
    return " ".join(words)


def _servers(balancing: Balancing) -> str:
    lines = []
    for number, node in enumerate(balancing.nodes, 1):
        host, port = split_node(node)
        state = " disabled" if node in balancing.down else ""
        lines.append(f"    server node{number} {host}:{port}{state}")
    return "\n".join(lines)
