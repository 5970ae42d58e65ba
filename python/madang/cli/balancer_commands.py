"""`madang balancer …`: configurations for what stands in front, and this machine's part in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from madang.cli.asking import ask
from madang.cli.place import CONTROL, runtime_dir
from madang.cli.session import state_folder
from madang.cli.settings import FILE, Settings, load
from madang.cluster.agent import NAME as AGENT
from madang.cluster.balancers import (
    BalancerError,
    Balancing,
    EdgeLimits,
    application_template,
    haproxy_configuration,
    network_template,
    nginx_configuration,
)
from madang.cluster.errors import ControlRefused, NotRunning
from madang.cluster.node import WEIGHT_MAX_PERCENT, NodeState, NodeWish, read_wish, write_wish
from madang.cluster.settings import ApplicationSettings, Kind
from madang.edge.asgi.settings import AsgiSettings

WRITERS = {
    "nginx": nginx_configuration,
    "haproxy": haproxy_configuration,
    "alb": application_template,
    "nlb": network_template,
}

OWN_ANSWER_MS = 600_000
"""How long a balancer waits for an application that may take as long as it likes."""

app = typer.Typer(
    help="What stands in front: its configuration, and draining this machine.",
    no_args_is_help=True,
)

StateOption = Annotated[str | None, typer.Option("--state", help="State folder.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file.")]
NodeOption = Annotated[
    list[str] | None, typer.Option("--node", help="HOST:PORT of a machine; give it for each.")
]
DownOption = Annotated[
    list[str] | None, typer.Option("--down", help="HOST:PORT that gets nothing new; may repeat.")
]
AppOption = Annotated[
    str | None, typer.Option("--app", help="Which application of madang.toml, if several serve.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write here instead of printing.")
]


@app.command()
def nginx(
    node: NodeOption = None,
    down: DownOption = None,
    app_name: AppOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Write nginx.conf: `madang balancer nginx --node 10.0.0.1:8000 -o nginx.conf`."""
    _write("nginx", _balancing(node, down, app_name, config), output)


@app.command()
def haproxy(
    node: NodeOption = None,
    down: DownOption = None,
    app_name: AppOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Write haproxy.cfg: `madang balancer haproxy --node 10.0.0.1:8000 -o haproxy.cfg`."""
    _write("haproxy", _balancing(node, down, app_name, config), output)


@app.command()
def alb(
    node: NodeOption = None,
    down: DownOption = None,
    app_name: AppOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Write a CloudFormation template of an AWS Application Load Balancer."""
    _write("alb", _balancing(node, down, app_name, config), output)


@app.command()
def nlb(
    node: NodeOption = None,
    down: DownOption = None,
    app_name: AppOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Write a CloudFormation template of an AWS Network Load Balancer."""
    _write("nlb", _balancing(node, down, app_name, config), output)


@app.command()
def drain(state: StateOption = None) -> None:
    """Take no new clients: `/healthz` says 404, the agent says drain; what is open goes on."""
    _wish(state, NodeWish(NodeState.DRAIN))


@app.command()
def maintenance(state: StateOption = None) -> None:
    """Count as down: `/healthz` says 503, the agent says maint."""
    _wish(state, NodeWish(NodeState.MAINTENANCE))


@app.command()
def ready(
    weight: Annotated[
        int, typer.Option(min=1, max=WEIGHT_MAX_PERCENT, help="Share of this machine in percent.")
    ] = WEIGHT_MAX_PERCENT,
    state: StateOption = None,
) -> None:
    """Take clients again."""
    _wish(state, NodeWish(NodeState.READY, weight))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    state: StateOption = None,
) -> None:
    """Say what balancers are told about this machine."""
    wish = read_wish(state_folder(state))
    if as_json:
        table = {"state": str(wish.state), "weight_percent": wish.weight_percent}
        typer.echo(json.dumps(table))
    else:
        typer.echo(f"{wish.state}, weight {wish.weight_percent}%")


def _wish(state: str | None, wish: NodeWish) -> None:
    folder = state_folder(state)
    if not folder.is_dir():
        raise BalancerError(f"{folder}: no state folder here; give --state", folder=str(folder))
    write_wish(folder, wish)
    typer.echo(f"{wish.state}: balancers hear it at their next check")
    if not _is_told(folder):
        text = "but nothing here tells them: set [balancer] health_port or agent_port"
        typer.echo(text, err=True)


def _is_told(folder: Path) -> bool:
    """Tell whether what runs on a state folder, if anything does, has a way to tell balancers."""
    try:
        found = ask(runtime_dir(folder) / CONTROL, "ls")["applications"]
    except (NotRunning, ControlRefused):
        return True
    return not found or any(a["name"] in ("worker", AGENT) for a in found)


def _balancing(
    nodes: list[str] | None, down: list[str] | None, app_name: str | None, config: Path | None
) -> Balancing:
    path = config or (Path(FILE) if Path(FILE).exists() else None)
    settings = load(path, os.environ, {})
    own = _own(settings, app_name)
    if own is None:
        edge, listen = settings.edge, settings.listen
        limits = EdgeLimits(**{name: getattr(edge, name) for name in EdgeLimits.__slots__})
        host, port = listen.host, listen.port
    else:
        limits = _own_limits(own)
        host, port = own.ports[0].host, own.ports[0].port
    found = tuple(nodes or settings.balancer.nodes or (_here(host, port),))
    return Balancing(settings.balancer, limits, found, frozenset(down or ()), own is None)


def _own(settings: Settings, name: str | None) -> ApplicationSettings | None:
    """Return the application that is meant, None for the market."""
    served = {a.name: a for a in settings.applications if a.ports}
    if name in served:
        return served[name]
    if name is not None or (not settings.has_market and len(served) != 1):
        known = ", ".join(served) or "none with a port"
        raise BalancerError(f"--app: which application is meant? There is {known}")
    return None if settings.has_market else next(iter(served.values()))


def _own_limits(application: ApplicationSettings) -> EdgeLimits:
    """Return the limits of an application: its own where it is ASGI, else those ASGI ones have."""
    asgi = AsgiSettings(target="unknown:unknown")
    if application.kind is Kind.ASGI:
        asgi = msgspec.convert({"target": application.target, **application.options}, AsgiSettings)
    return EdgeLimits(
        body_bytes_max=asgi.body_bytes_max,
        header_bytes_max=asgi.header_bytes_max,
        header_timeout_ms=asgi.header_timeout_ms,
        handler_timeout_ms=asgi.request_timeout_ms or OWN_ANSWER_MS,
        idle_timeout_ms=asgi.idle_timeout_ms,
        ping_interval_ms=asgi.ping_interval_ms,
        pong_timeout_ms=asgi.pong_timeout_ms,
        proxy_protocol=asgi.proxy_protocol,
    )


def _here(host: str, port: int) -> str:
    """Return this machine's own address as settings give it."""
    if port == 0:
        raise BalancerError("the port is 0 here: give --node HOST:PORT")
    host = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _write(kind: str, balancing: Balancing, output: Path | None) -> None:
    text = WRITERS[kind](balancing)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise BalancerError(f"cannot write {output}: {error.strerror}") from error
    typer.echo(f"wrote {output}")
