"""`madang service`: what was saved as a service of systemd, with its sockets.

Without a flag the units are printed. `--install` writes and enables them: as root for the machine,
else for the user's own service manager.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from madang.cli.asking import Answer, tell
from madang.cli.place import own_state_dir
from madang.cli.saved import read_saved
from madang.cli.units import UNIT, ServicePlan, units
from madang.core.errors import MadangError

SYSTEM_FOLDER = Path("/etc/systemd/system")
USER_FOLDER = ".config/systemd/user"
LIMIT_S = 30


class ServiceError(MadangError):
    """A unit that cannot be made, written or enabled."""


def service(
    name: Annotated[str, typer.Option("--name", help="Of the unit.")] = "madang",
    user: Annotated[
        str | None, typer.Option("--user", help="Who it runs as; else whose the state is.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Write the units and enable them.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Disable and delete them.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where --install writes; nothing is enabled.")
    ] = None,
    state: Annotated[str | None, typer.Option("--state", help="State folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make what was saved a systemd service that starts with the machine.

    Examples: madang service, sudo madang service --install
    """
    state_dir = own_state_dir(state)

    def work() -> Answer:
        if not UNIT.fullmatch(name):
            raise ServiceError(f"expected a unit's name like madang, not {name!r}")
        place = folder or unit_folder()
        if remove:
            return {"removed": remove_units(place, name, enabled=folder is None)}
        files = units(plan(name, state_dir, user))
        if install or folder is not None:
            written = write_units(place, files, enable=folder is None)
            return {"written": written, "units": files}
        return {"units": files}

    raise typer.Exit(tell(work, as_json=as_json, render=text_of))


def text_of(answer: Answer) -> str:
    """Return the answer as a person reads it."""
    if "removed" in answer:
        return "\n".join(f"removed {path}" for path in answer["removed"]) or "nothing to remove"
    if "written" in answer:
        service_name = next(iter(answer["units"]))
        scope = "" if os.geteuid() == 0 else " --user"
        lines = [f"wrote {path}" for path in answer["written"]]
        lines.append(
            f"`madang stop`, then `systemctl{scope} start {service_name}` hands over to it"
        )
        return "\n".join(lines)
    return "\n".join(f"# {name}\n{text}" for name, text in answer["units"].items()).rstrip()


def unit_folder() -> Path:
    """Return where this user's units belong."""
    return SYSTEM_FOLDER if os.geteuid() == 0 else Path.home() / USER_FOLDER


def plan(name: str, state_dir: Path, user: str | None) -> ServicePlan:
    """Return what the units are made of. Raises ServiceError, NothingSaved."""
    applications = read_saved(state_dir)
    owner = _owner(state_dir, user)
    script = Path(sys.executable).with_name("madang")
    begin = [str(script)] if script.exists() else [sys.executable, "-m", "madang.cli.main"]
    place = ["--state", str(state_dir)]
    command = [*begin, "resurrect", "--foreground", *place]
    reload = [*begin, "reload", "all", *place]
    path = os.environ.get("PYTHONPATH")
    environment = {"PYTHONPATH": path} if path else {}
    return ServicePlan(name, command, reload, state_dir, applications, owner, environment)


def _owner(state_dir: Path, user: str | None) -> str:
    """Return who the service runs as, "" for a user's own. Raises ServiceError.

    That must be who the state folder belongs to, or it could not write there.
    """
    if os.geteuid() != 0:
        if user is not None:
            raise ServiceError("--user is for root: a service of your own runs as you")
        return ""
    has = state_dir.stat().st_uid
    try:
        wanted = pwd.getpwnam(user) if user is not None else pwd.getpwuid(has)
    except KeyError as error:
        raise ServiceError(f"there is no user {user or has!r}") from error
    if wanted.pw_uid != has:
        text = f"{state_dir} is not {user}'s: `chown -R {user} {state_dir}` first"
        raise ServiceError(text)
    return wanted.pw_name


def write_units(folder: Path, files: dict[str, str], *, enable: bool) -> list[str]:
    """Write the units and, if wanted, have systemd read and enable them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ServiceError(f"cannot write to {folder}: {error.strerror}") from error
    if enable:
        _systemctl("daemon-reload")
        _systemctl("enable", *files)
    return [str(folder / name) for name in files]


def remove_units(folder: Path, name: str, *, enabled: bool) -> list[str]:
    """Disable and delete the units that `write_units` wrote."""
    found = [p for p in [folder / f"{name}.service", *sorted(folder.glob(f"{name}-*.socket"))]
             if p.exists()]  # fmt: skip
    if enabled and found:
        _systemctl("disable", *(path.name for path in found))
    for path in found:
        path.unlink()
    if enabled and found:
        _systemctl("daemon-reload")
    return [str(path) for path in found]


def _systemctl(*words: str) -> None:
    program = shutil.which("systemctl")
    scope = () if os.geteuid() == 0 else ("--user",)
    if program is None:
        raise ServiceError("there is no systemctl: use `madang service` and your own init")
    done = subprocess.run(
        [program, *scope, *words], capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    if done.returncode:
        raise ServiceError(f"systemctl {' '.join(words)}: {done.stderr.strip() or done.returncode}")
