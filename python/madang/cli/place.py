"""Which state folder a command means, found without importing what would run there.

A command that only asks the supervisor shall be quick, so this reads `[cluster] state_dir` alone;
`settings` is the one that refuses what is wrong in the rest of the file.
"""

from __future__ import annotations

import os
from pathlib import Path

from madang.core.errors import SettingsError

FILE = "madang.toml"
STATE = ".madang"
DEMO_STATE = ".madang/demo"
VARIABLE = "MADANG_CLUSTER_STATE_DIR"
CONTROL = "control.sock"
SOCKET_PATH_MAX = 100
BUS_NAME_ROOM = 40


def runtime_dir(state_dir: Path) -> Path:
    """Return the runtime folder of a state folder; Unix sockets bear only short paths."""
    inside = state_dir / "run"
    if len(str(inside / "bus")) + BUS_NAME_ROOM <= SOCKET_PATH_MAX:
        return inside
    import hashlib

    digest = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:12]
    # As tempfile.gettempdir() does, which costs more to import than to say again.
    folder = next((os.environ[n] for n in ("TMPDIR", "TEMP", "TMP") if os.environ.get(n)), "/tmp")
    return Path(folder) / f"madang-{os.getuid()}-{digest}"


def working_directory() -> Path:
    """Return where the command is typed, by the name that the shell knows it by.

    A link such as `current`, which leads to another release after a deploy, stays a link, so that
    a reload finds what it leads to then.
    """
    named = os.environ.get("PWD", "")
    if os.path.isabs(named) and os.path.exists(named) and os.path.samefile(named, "."):
        return Path(named)
    return Path.cwd()


def control_path(state: str | None) -> Path:
    """Return where the supervisor answers that is meant by `state`, the value of a flag."""
    return runtime_dir(find_state_dir(state)) / CONTROL


def find_runtime_dir(state: str | None) -> Path:
    """Return the folder of the control socket of the state folder that is meant."""
    return runtime_dir(find_state_dir(state))


def find_state_dir(state: str | None) -> Path:
    """Return the state folder that is meant: `state`, else that of the settings here.

    Where these have no running cluster but the demo has, it is the demo that is meant.
    """
    found = own_state_dir(state)
    demo = Path(DEMO_STATE).absolute()
    runs = (runtime_dir(found) / CONTROL).exists()
    if state is None and not runs and (runtime_dir(demo) / CONTROL).exists():
        return demo
    return found


def own_state_dir(state: str | None) -> Path:
    """Return `state`, else what the environment, else what madang.toml, else what custom says."""
    if state is None:
        state = os.environ.get(VARIABLE) or _written(Path(FILE)) or STATE
    return Path(state).absolute()


def _written(path: Path) -> str | None:
    """Return what `path` says, None without that file or line. Raises SettingsError."""
    import tomllib

    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SettingsError(str(path), "file", f"is not TOML: {error}") from error
    section = table.get("cluster", {})
    found = section.get("state_dir") if isinstance(section, dict) else None
    if found is not None and not isinstance(found, str):
        raise SettingsError(str(path), "[cluster.state_dir]", f"expected a text, not {found!r}")
    return found
