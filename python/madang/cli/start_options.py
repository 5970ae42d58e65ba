"""The options of `madang start`, one type each, so that the command itself stays readable."""

from __future__ import annotations

from typing import Annotated

import typer

LIFE = "Life of a process"
SHARING = "Instances and connections"
PROCESS = "The process"

Name = Annotated[str | None, typer.Option("--name", "-n", help="Else made from the target.")]
Module = Annotated[
    str | None, typer.Option("--module", "-m", help="Run a Python module, as python -m does.")
]
Kind = Annotated[
    str | None, typer.Option("--kind", help="role, asgi, python or command; else by its look.")
]
Instances = Annotated[
    str,
    typer.Option(
        "--instances", "-i", rich_help_panel=SHARING, help="4, max or 0, -1 (one fewer), auto:1-8."
    ),
]
Port = Annotated[
    int | None,
    typer.Option("--port", "-p", min=0, max=65_535, rich_help_panel=SHARING, help="ASGI: 8000."),
]
Host = Annotated[str | None, typer.Option("--host", rich_help_panel=SHARING)]
Inherit = Annotated[
    bool,
    typer.Option(
        "--inherit",
        rich_help_panel=SHARING,
        help="The program takes listening sockets as systemd gives them (LISTEN_FDS).",
    ),
]
BalanceName = Annotated[
    str | None,
    typer.Option("--balance", rich_help_panel=SHARING, help="even, weights, least_connections."),
]
Weights = Annotated[
    str | None, typer.Option("--weights", rich_help_panel=SHARING, help="Such as 3,1.")
]
Environment = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", rich_help_panel=PROCESS, help="NAME=VALUE; may repeat."),
]
Directory = Annotated[
    str | None, typer.Option("--directory", rich_help_panel=PROCESS, help="Where it runs.")
]
User = Annotated[str | None, typer.Option("--user", rich_help_panel=PROCESS, help="As root only.")]
Nice = Annotated[int | None, typer.Option("--nice", min=-20, max=19, rich_help_panel=PROCESS)]
Ready = Annotated[
    str | None,
    typer.Option(
        "--ready",
        rich_help_panel=LIFE,
        help="notify (READY=1), started, or a URL like http://127.0.0.1:{port}/healthz.",
    ),
]
StartTimeout = Annotated[int | None, typer.Option("--start-timeout-ms", rich_help_panel=LIFE)]
StopTimeout = Annotated[int | None, typer.Option("--stop-timeout-ms", rich_help_panel=LIFE)]
StopSignal = Annotated[
    str | None, typer.Option("--stop-signal", rich_help_panel=LIFE, help="Such as SIGINT.")
]
MaxRestarts = Annotated[
    int | None,
    typer.Option(
        "--max-restarts", rich_help_panel=LIFE, help="Short runs in a row before it is errored."
    ),
]
MinUptime = Annotated[
    int | None, typer.Option("--min-uptime-ms", rich_help_panel=LIFE, help="What is a short run.")
]
MemoryMax = Annotated[
    str | None,
    typer.Option("--memory-max", rich_help_panel=LIFE, help="Replace it above 300M, gracefully."),
]
AgeMax = Annotated[
    str | None, typer.Option("--age-max", rich_help_panel=LIFE, help="Replace it after 12h.")
]
RequestsMax = Annotated[int | None, typer.Option("--requests-max", rich_help_panel=LIFE)]
Cron = Annotated[
    str | None, typer.Option("--cron", rich_help_panel=LIFE, help='Replace all at "0 4 * * *".')
]
Watch = Annotated[
    bool, typer.Option("--watch", rich_help_panel=LIFE, help="Reload when a file changes.")
]
WatchPath = Annotated[
    list[str] | None,
    typer.Option("--watch-path", rich_help_panel=LIFE, help="Only these; may repeat."),
]
Exclusive = Annotated[
    bool, typer.Option("--exclusive", rich_help_panel=LIFE, help="Never two at once, at no time.")
]
State = Annotated[
    str | None,
    typer.Option("--state", help="State folder; else madang.toml's, else .madang."),
]
Foreground = Annotated[
    bool, typer.Option("--foreground", help="Stay here; Ctrl-C stops everything.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is ready.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
