"""The role that runs an ASGI application in the cluster: import, lifespan, serve, drain, end.

Options are those of `AsgiSettings`. A process that cannot start ends with the reason as the last
line of its output and in its status; it never says that it is ready.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack

from madang.cluster.process import Process
from madang.core import log
from madang.core.errors import MadangError
from madang.core.settings import decode_section
from madang.edge.asgi.lifespan import Lifespan
from madang.edge.asgi.loading import load
from madang.edge.asgi.server import AsgiServer
from madang.edge.asgi.settings import AsgiSettings
from madang.edge.following import follow
from madang.edge.gathering import telling
from madang.edge.handover.mobile import Mover
from madang.edge.handover.process import enable_hand_over
from madang.edge.hub_front import HubFront, talking

REASON_CHARACTERS_MAX = 400


async def main(process: Process) -> None:
    """Serve until the process is asked to stop."""
    async with AsyncExitStack() as stack:
        try:
            settings = decode_section(AsgiSettings, _options(process), process.name, "options")
            application = load(settings.target, settings.directory, settings.factory)
            hub = await stack.enter_async_context(talking(process, settings.hub))
            lifespan = Lifespan(application, settings)
            await lifespan.startup()
        except MadangError as error:
            raise _refuse(process, error.message) from None
        except Exception as error:  # noqa: BLE001 - the user's import
            log.get("asgi").exception("the application could not be loaded")
            first = next(iter(str(error).strip().splitlines()), "")
            raise _refuse(process, f"{type(error).__name__}: {first}") from None
        server = AsgiServer(application, settings, lifespan.state, process.scores)
        server.state.hub = hub
        with telling(hub.bus, process, hub.families):
            await _serve(process, server, hub)
        await lifespan.shutdown()


async def _serve(process: Process, server: AsgiServer, hub: HubFront) -> None:
    server.start()
    follow(process, server)
    mover = Mover(
        name=hub.session.name,
        mobiles=lambda: [*hub.server.mobiles(), *server.mobiles()],
        thaws={**hub.server.thaws, **server.thaws},
        channels=hub.session.give,
        warm=hub.session.warm,
        settle=hub.session.settle,
        ended=hub.session.moving_ended,
    )
    enable_hand_over(process, mover)
    gc.collect()
    gc.freeze()  # what was imported is never looked at again
    process.status(f"serves {server.settings.target}")
    process.ready()
    await process.wait_stop()
    process.status("draining")
    await asyncio.gather(server.drain(), hub.drain(server.settings.drain_timeout_ms))
    await server.close()


def _options(process: Process) -> dict[str, object]:
    """Return the options; an entry of kind "asgi" has its target in `app`."""
    options = dict(process.options)
    if "target" not in options and "app" in options:
        options["target"] = options.pop("app")
    return options


def _refuse(process: Process, reason: str) -> SystemExit:
    lines = reason.strip().splitlines() or [reason]
    text = f"the application did not start: {lines[-1][:REASON_CHARACTERS_MAX]}"
    process.status(text)
    return SystemExit(text if len(lines) == 1 else f"{reason.strip()}\n{text}")
