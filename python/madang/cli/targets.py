"""From what a person types to an application's entry: `app:app`, `worker.py`, `-- ./program`.

Pure but for looking whether the named file is there. The entry is what the control socket takes,
what `save` keeps, and what `[app.NAME]` in madang.toml says in other words.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from madang.core.errors import SettingsError

PORT_DEFAULT = 8000
HOST_DEFAULT = "127.0.0.1"
NAME_LENGTH_MAX = 32
ASGI = re.compile(r"([A-Za-z_][\w.]*|[^:\0]+\.py):[A-Za-z_][\w.]*")
RESERVED = frozenset({"all", "madang", "template", "logger"})
RUNNERS = {
    ".js": "node", ".mjs": "node", ".cjs": "node", ".ts": "node", ".rb": "ruby", ".php": "php",
    ".pl": "perl", ".sh": "sh", ".bash": "bash", ".jar": "java -jar",
}  # fmt: skip
NEVER_EXECUTABLE = frozenset({".js", ".mjs", ".cjs", ".ts", ".php", ".jar"})
"""Seldom written with a first line that names what runs them: to permit it would not be enough."""
SIZE = re.compile(r"(\d{1,12})\s*([kKmMgG]?)(?:i?[bB])?")
SPAN = re.compile(r"(\d{1,9})(s|m|h|d|)")
SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
SPANS_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
NOT_INHERITED = re.compile(
    r"_|PWD|OLDPWD|SHLVL|TERM|COLUMNS|LINES|PS1|LS_COLORS|STY|WINDOWID|TMUX.*|SSH_.*|XDG_SESSION.*"
    r"|LISTEN_.*|NOTIFY_SOCKET|WATCHDOG_.*|INVOCATION_ID|JOURNAL_STREAM"
    r"|_TYPER.*|_MADANG_COMPLETE|MADANG_(NAME|INSTANCE|GENERATION|LAUNCH|CHILD|RUNTIME_DIR)"
)
"""What belongs to a terminal, a session or a process rather than to what is started from there."""

Entry = dict[str, object]


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be run: kind, what to find it by, and the words that follow."""

    kind: str
    target: str
    arguments: tuple[str, ...] = ()


def find_target(
    word: str | None, module: str | None, program: Sequence[str], folder: Path
) -> Target:
    """Return what is meant by a word, a module behind `-m`, or the words behind `--`.

    The words behind `--` are a program where nothing else is named, else arguments.
    Raises SettingsError where there is no such file.
    """
    rest = tuple(program)
    if module is not None:
        return Target("python", f"-m {module}", ((word,) if word else ()) + rest)
    if word is None:
        if not rest:
            raise SettingsError("start", "TARGET", "expected what to start")
        _require_program(rest[0], folder)
        return Target("command", rest[0], rest[1:])
    if ASGI.fullmatch(word):
        file = word.rpartition(":")[0]
        if file.endswith(".py"):
            _require_file(file, folder)
        return Target("asgi", word, rest)
    if word.endswith(".py"):
        _require_file(word, folder)
        return Target("python", word, rest)
    _require_program(word, folder)
    return Target("command", word, rest)


def _require_file(name: str, folder: Path) -> None:
    if not (folder / name).is_file():
        raise SettingsError("start", name, f"there is no such file in {folder}")


def _require_program(name: str, folder: Path) -> None:
    if shutil.which(str(folder / name) if "/" in name else name) is not None:
        return
    if not (folder / name).is_file():
        hint = "an ASGI application is module:attribute, a Python program worker.py or -m module"
        raise SettingsError("start", name, f"there is no such program ({hint})")
    path = name if "/" in name else f"./{name}"
    if os.access(folder / name, os.X_OK):
        raise SettingsError("start", name, f"there is no such program; did you mean {path}?")
    ending = Path(name).suffix
    word = RUNNERS.get(ending, "INTERPRETER")
    remedy = f"name what runs it: `madang start -- {word} {shlex.quote(name)}`"
    if ending not in NEVER_EXECUTABLE:
        remedy = f"`chmod +x {shlex.quote(path)}`, or {remedy}"
    raise SettingsError("start", name, f"{path} is not executable: {remedy}")


def name_of(target: Target) -> str:
    """Return the name that an application has where none is given."""
    word = target.target.removeprefix("-m ")
    if target.kind in ("asgi", "role"):
        word = word.rpartition(":")[0]
    word = word.rsplit("/", 1)[-1].removesuffix(".py")
    if target.kind != "command":
        word = word.rsplit(".", 1)[-1]
    name = re.sub(r"[^a-z0-9_-]+", "-", word.lower()).strip("-_")
    name = re.sub(r"^[^a-z]+", "", name)[:NAME_LENGTH_MAX] or "app"
    return f"{name[: NAME_LENGTH_MAX - 4]}-app" if name in RESERVED else name


def ports_of(
    kind: str, name: str, host: str | None, port: int | None, inherit: bool
) -> list[Entry]:
    """Return the application's ports: an ASGI application always has one.

    A program binds for itself, its instances on successive ports, unless it says that it takes
    sockets as systemd hands them over.
    """
    served = kind in ("asgi", "role")
    if port is None and host is None and kind != "asgi":
        return []
    number = PORT_DEFAULT if port is None else port
    entry = {"name": name, "host": host or HOST_DEFAULT, "port": number}
    return [{**entry, "inherit": served or inherit}]


def inherited(environment: Mapping[str, str], has_port: bool) -> dict[str, str]:
    """Return the caller's environment as far as it goes with what is started."""
    return {
        name: value
        for name, value in environment.items()
        if not NOT_INHERITED.fullmatch(name) and not (has_port and name == "PORT")
    }


def assignments(words: Sequence[str]) -> dict[str, str]:
    """Return what `NAME=VALUE` words say; `NAME` alone takes the value that it has here."""
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not name or (not sign and name not in os.environ):
            raise SettingsError("start", "--env", f"expected NAME=VALUE, not {word!r}")
        found[name] = value if sign else os.environ[name]
    return found


def size_bytes(text: str, flag: str) -> int:
    """Return the bytes that `300M` or `1G` means."""
    found = SIZE.fullmatch(text.strip())
    if not found:
        raise SettingsError("start", flag, f"expected a size like 300M, not {text!r}")
    return int(found[1]) * SIZES[found[2].lower()]


def span_s(text: str, flag: str) -> int:
    """Return the seconds that `90`, `10m` or `2h` means."""
    found = SPAN.fullmatch(text.strip())
    if not found:
        raise SettingsError("start", flag, f"expected a time like 12h, not {text!r}")
    return int(found[1]) * SPANS_S[found[2]]
