"""`madang balancer …`: configurations for what stands in front, and this machine's part in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from madang.cli.session import state_folder
from madang.cli.settings import FILE, Settings, load
from madang.cluster.balancers import (
    BalancerError,
    Balancing,
    EdgeLimits,
    application_template,
    haproxy_configuration,
    network_template,
    nginx_configuration,
)
from madang.cluster.node import WEIGHT_MAX_PERCENT, NodeState, NodeWish, read_wish, write_wish

WRITERS = {
    "nginx": nginx_configuration,
    "haproxy": haproxy_configuration,
    "alb": application_template,
    "nlb": network_template,
}

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
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write here instead of printing.")
]


@app.command()
def nginx(
    node: NodeOption = None,
    down: DownOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Write nginx.conf: `madang balancer nginx --node 10.0.0.1:8000 -o nginx.conf`."""
    _write("nginx", _balancing(node, down, config), output)


@app.command()
def haproxy(
    node: NodeOption = None,
    down: DownOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Write haproxy.cfg: `madang balancer haproxy --node 10.0.0.1:8000 -o haproxy.cfg`."""
    _write("haproxy", _balancing(node, down, config), output)


@app.command()
def alb(
    node: NodeOption = None,
    down: DownOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Write a CloudFormation template of an AWS Application Load Balancer."""
    _write("alb", _balancing(node, down, config), output)


@app.command()
def nlb(
    node: NodeOption = None,
    down: DownOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Write a CloudFormation template of an AWS Network Load Balancer."""
    _write("nlb", _balancing(node, down, config), output)


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


def _balancing(nodes: list[str] | None, down: list[str] | None, config: Path | None) -> Balancing:
    path = config or (Path(FILE) if Path(FILE).exists() else None)
    settings = load(path, os.environ, {})
    edge = settings.edge
    limits = EdgeLimits(**{name: getattr(edge, name) for name in EdgeLimits.__slots__})
    found = tuple(nodes or settings.balancer.nodes or (_here(settings),))
    return Balancing(settings.balancer, limits, found, frozenset(down or ()))


def _here(settings: Settings) -> str:
    """Return this machine's own address as settings give it."""
    listen = settings.listen
    if listen.port == 0:
        raise BalancerError("[edge] port is 0: give --node HOST:PORT")
    host = "127.0.0.1" if listen.host in {"0.0.0.0", "::", ""} else listen.host
    return f"[{host}]:{listen.port}" if ":" in host else f"{host}:{listen.port}"


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
