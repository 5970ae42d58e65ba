"""nginx in front: a whole nginx.conf, for the free nginx from 1.18 on.

The free nginx asks no health page: it leaves a machine alone after failed connections
(`max_fails`), and a drained one has to be written `down` before a reload, which lets old
connections finish. It speaks no PROXY protocol to HTTP machines, so the client's address travels
in X-Forwarded-For and the balancer belongs into `[edge] trusted_proxies`.
"""

from __future__ import annotations

from madang.cluster.balancers.settings import BalancerError, Balancing, seconds

KEPT_CONNECTIONS = 64
HEADER_BUFFERS = 4


def nginx_configuration(balancing: Balancing) -> str:
    """Return nginx.conf. Raises BalancerError."""
    settings, limits = balancing.settings, balancing.limits
    if limits.proxy_protocol:
        text = (
            "nginx cannot send the PROXY protocol to HTTP machines: leave [edge] proxy_protocol "
            "off and name the balancer in [edge] trusted_proxies"
        )
        raise BalancerError(text)
    if settings.tls_cert and not settings.tls_key:
        raise BalancerError("nginx needs [balancer] tls_key beside tls_cert")
    return f"""\
# nginx in front of Madang, written by `madang balancer nginx`.
# To drain a machine: `madang balancer nginx --down HOST:PORT`, then `nginx -s reload`.
worker_processes auto;
worker_rlimit_nofile 1048576;
worker_shutdown_timeout {settings.drain_timeout_s}s;
events {{
    worker_connections 65535;
}}
http {{
    # WebSocket upgrades pass; all other requests share kept connections to the machines.
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ''      '';
    }}
    upstream madang {{
        zone madang 256k;
        least_conn;
{_servers(balancing)}
        keepalive {KEPT_CONNECTIONS};
        keepalive_timeout {balancing.keep_alive_s}s;
    }}
    server {{
        {_listen(balancing)}
        server_name {settings.server_name};
        server_tokens off;
        client_header_timeout {seconds(limits.header_timeout_ms)}s;
        client_max_body_size {limits.body_bytes_max};
        large_client_header_buffers {HEADER_BUFFERS} {limits.header_bytes_max};
{_locations(balancing)}
    }}
}}
"""


def _locations(balancing: Balancing) -> str:
    kept = """\
        location = /metrics {
            deny all;
        }
"""
    return f"""\
{kept if balancing.is_market else ""}\
        location / {{
            proxy_pass http://madang;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_connect_timeout 2s;
            proxy_read_timeout {balancing.silence_s}s;
            proxy_send_timeout {balancing.silence_s}s;
            proxy_buffering off;
            proxy_socket_keepalive on;
            # What may have been carried out is never sent twice: orders are POST.
            proxy_next_upstream error timeout http_503;
            proxy_next_upstream_tries 2;
        }}"""


def _servers(balancing: Balancing) -> str:
    most = balancing.settings.connections_per_node_max
    lines = [
        f"        server {node} "
        + ("down;" if node in balancing.down else f"max_conns={most} max_fails=2 fail_timeout=5s;")
        for node in balancing.nodes
    ]
    return "\n".join(lines)


def _listen(balancing: Balancing) -> str:
    settings = balancing.settings
    if not settings.tls_cert:
        return f"listen {settings.port};"
    return f"""listen {settings.port} ssl http2;
        ssl_certificate {settings.tls_cert};
        ssl_certificate_key {settings.tls_key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:madang:10m;"""
