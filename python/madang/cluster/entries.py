"""The JSON form of settings: what the control socket, saved lists and `execv` carry.

Every field has the name that it has in `settings`; an unknown one, or a value of another type, is a
SettingsError that names it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path

from madang.cluster.settings import (
    ApplicationSettings,
    AutoscaleSettings,
    Balance,
    ClusterSettings,
    Kind,
    LogSettings,
    PortSettings,
    RestartSettings,
    WatchdogSettings,
)
from madang.core.errors import SettingsError

AUTO = re.compile(r"auto:(\d{1,4})-(\d{1,4})")
WHOLE = re.compile(r"-?\d{1,4}")
Table = Mapping[str, object]


def encode_application(application: ApplicationSettings) -> dict[str, object]:
    """Return the JSON form, which `decode_application` reads back whole."""
    return asdict(application)


def decode_application(entry: Table) -> ApplicationSettings:
    """Return the application that `entry` describes; what is missing has its default."""
    table = dict(entry)
    where = f"applications.{table.get('name', '?')}"
    for missing in ("name", "target"):
        if missing not in table:
            raise SettingsError("cluster", f"{where}.{missing}", "expected a text")
    table["ports"] = tuple(
        _record(PortSettings, _mapping(port, f"{where}.ports"), f"{where}.ports")
        for port in _list(table.get("ports", ()), f"{where}.ports")
    )
    scale = table.get("autoscale")
    if scale is not None:
        place = f"{where}.autoscale"
        table["autoscale"] = _record(AutoscaleSettings, _mapping(scale, place), place)
    if isinstance(table.get("instances"), str):
        table["instances"], table["autoscale"] = parse_instances(
            str(table["instances"]), f"{where}.instances"
        )
    for name, kind in (("kind", Kind), ("balance", Balance)):
        if name in table:
            table[name] = _choice(kind, table[name], f"{where}.{name}")
    found = _record(ApplicationSettings, table, where)
    assert isinstance(found, ApplicationSettings)
    if found.is_foreign and "ready" not in entry:
        return replace(found, ready="started")  # few programs know how to say more
    return found


def decode(table: Table) -> ClusterSettings:
    """Return the settings whose plain form `table` is; what is missing has its default."""
    rest = dict(table)
    applications = _list(rest.pop("applications"), "applications")
    sections = {
        "restart": _section(RestartSettings, rest, "restart"),
        "watchdog": _section(WatchdogSettings, rest, "watchdog"),
        "log": _section(LogSettings, rest, "log"),
    }
    rest["state_dir"] = Path(str(rest["state_dir"]))
    rest["runtime_dir"] = Path(str(rest["runtime_dir"]))
    decoded = tuple(decode_application(_mapping(entry, "applications")) for entry in applications)
    found = _record(ClusterSettings, {**rest, **sections, "applications": decoded}, "cluster")
    assert isinstance(found, ClusterSettings)
    return found


def parse_instances(text: str, where: str = "instances") -> tuple[int, AutoscaleSettings | None]:
    """Return how many instances `text` means: `4`, `max` or `0`, `-1`, `auto:1-8`.

    `max` and 0 are one for each core, -1 one fewer (at least one).
    """
    cores = len(os.sched_getaffinity(0))
    if text in ("max", "0"):
        return cores, None
    found = AUTO.fullmatch(text)
    if found:
        low, high = int(found[1]), int(found[2])
        if 1 <= low <= high:
            return low, AutoscaleSettings(low, high)
    elif WHOLE.fullmatch(text):
        number = int(text)
        return (number if number > 0 else max(1, cores + number)), None
    expected = "expected a number, max, 0, -1 or auto:1-8"
    raise SettingsError("cluster", where, f"{expected}, not {text!r}")


def _section(kind: Callable[..., object], rest: dict[str, object], name: str) -> object:
    return _record(kind, _mapping(rest.pop(name, {}), name), name)


def _record(kind: Callable[..., object], table: Table, where: str) -> object:
    """Build dataclass `kind`, naming an unknown field or a value of another type."""
    known = {field.name: str(field.type) for field in fields(kind)}  # type: ignore[arg-type]
    arguments: dict[str, object] = {}
    for name, value in table.items():
        if name not in known:
            text = f"is not known; expected one of {', '.join(known)}"
            raise SettingsError("cluster", f"{where}.{name}", text)
        arguments[name] = _value(value, known[name], f"{where}.{name}")
    try:
        return kind(**arguments)
    except TypeError as error:
        raise SettingsError("cluster", where, f"misses a field: {error}") from error


def _value(value: object, kind: str, where: str) -> object:
    if kind == "tuple[str, ...]":
        return tuple(str(word) for word in _list(value, where))
    if kind == "tuple[int, ...]":
        return tuple(_whole(word, where) for word in _list(value, where))
    if kind == "Mapping[str, str]":
        return {str(name): str(word) for name, word in _mapping(value, where).items()}
    if kind == "Mapping[str, object]":
        return dict(_mapping(value, where))
    if kind.startswith("int") and not (value is None and kind.endswith("| None")):
        return _whole(value, where)
    if kind == "float" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise SettingsError("cluster", where, f"expected a number, not {value!r}")
    if kind in ("str", "bool") and not isinstance(value, str if kind == "str" else bool):
        noun = "a text" if kind == "str" else "true or false"
        raise SettingsError("cluster", where, f"expected {noun}, not {value!r}")
    return value


def _whole(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingsError("cluster", where, f"expected a whole number, not {value!r}")
    return value


def _choice(kind: type[Kind] | type[Balance], value: object, where: str) -> Kind | Balance:
    try:
        return kind(str(value))
    except ValueError as error:
        text = f"expected one of {', '.join(kind)}, not {value!r}"
        raise SettingsError("cluster", where, text) from error


def _mapping(value: object, where: str) -> Table:
    if not isinstance(value, Mapping):
        raise SettingsError("cluster", where, "expected a table")
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list | tuple):
        raise SettingsError("cluster", where, "expected a list")
    return list(value)
