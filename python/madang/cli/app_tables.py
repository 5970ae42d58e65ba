"""`[app.NAME]` of madang.toml: what `madang start` takes as options, in a file.

Every field of `cluster.settings.ApplicationSettings` can be written. Beside these there are the
short words of the command line: `module`, `program`, `port`, `host`, `inherit`, `env`,
`memory_max`, `age_max`, `cron` and `watch`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches

from madang.cli.place import working_directory
from madang.cli.targets import find_target, ports_of, size_bytes, span_s
from madang.cluster.checks import check_application, check_names, check_ports
from madang.cluster.entries import decode_application
from madang.cluster.settings import ApplicationSettings
from madang.core.errors import SettingsError

SHORT = ("module", "program", "port", "host", "inherit", "env", "memory_max", "age_max", "cron",
         "watch")  # fmt: skip
SAME = {"env": "environment", "cron": "restart_schedule"}
FIELD_OF = {
    **SAME, "memory_max": "memory_max_bytes", "age_max": "age_max_s", "watch": "watch_files",
    "port": "ports", "host": "ports", "inherit": "ports", "module": "target", "program": "target",
}  # fmt: skip
"""The field that a short word becomes."""
FIELDS = tuple(field.name for field in fields(ApplicationSettings))
WRITTEN = (
    "target", *SHORT,
    *(n for n in FIELDS if n not in {"name", "target", *FIELD_OF.values()} or n == "ports"),
)  # fmt: skip
"""What a person is told that there is: the short word where there is one."""


def read_applications(tables: Mapping[str, object], source: str) -> tuple[ApplicationSettings, ...]:
    """Return the applications of `[app.NAME]` tables, in their order. Raises SettingsError."""
    found: list[ApplicationSettings] = []
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(source, f"[app.{name}]", "expected a table")
        try:
            _check_keys(table)
            application = decode_application(_entry(name, table))
            check_application(application)
            check_names([*(other.name for other in found), name])
            check_ports([*found, application])
        except SettingsError as error:
            raise _in_words_of(table, name, source, error) from error
        found.append(application)
    return tuple(found)


def _check_keys(table: Mapping[str, object]) -> None:
    """Refuse a key that is none, with the one that was meant and those that there are."""
    for key in table:
        if key not in (*FIELDS, *SHORT):
            close = get_close_matches(key, (*FIELDS, *SHORT), 1)
            meant = f"; did you mean {close[0]}?" if close else ""
            text = f"is no key of an application{meant} (there are {', '.join(WRITTEN)})"
            raise SettingsError("", key, text)


def _in_words_of(
    table: Mapping[str, object], name: str, source: str, error: SettingsError
) -> SettingsError:
    """Return the error with the place as the table has it: its own key, not that of an entry."""
    key = re.sub(r"applications\.[^.]*\.?", "", str(error.data["key"]), count=1)
    first, dot, rest = key.partition(".")
    short = [word for word, field in FIELD_OF.items() if field == first and word in table]
    key = f"{short[0]}{dot}{rest}" if short else key
    where = f"[app.{name}]{f' {key}' if key else ''}"
    return SettingsError(source, where, str(error.data["expected"]))


def _entry(name: str, table: Mapping[str, object]) -> dict[str, object]:
    """Return the entry that a table means."""
    entry = {key: value for key, value in table.items() if key not in SHORT}
    entry["name"] = name
    folder = working_directory() / str(table.get("directory", ""))
    entry["directory"] = str(folder)
    if "kind" not in table:
        word, module = table.get("target"), table.get("module")
        if word is None and module is None and "program" not in table:
            raise SettingsError("", "target", "expected target, module or program")
        target = find_target(
            None if word is None else str(word),
            None if module is None else str(module),
            _words(table.get("program", ())),
            folder,
        )
        entry.update(kind=target.kind, target=target.target)
        entry["arguments"] = [*target.arguments, *_words(table.get("arguments", ()))]
    host, port = table.get("host"), table.get("port")
    if not isinstance(host, str | None) or not isinstance(port, int | None):
        raise SettingsError("", "port", "expected a text for host and a number for port")
    if "ports" not in table:
        inherit = table.get("inherit") is True
        entry["ports"] = ports_of(str(entry["kind"]), name, host, port, inherit)
    for short, field in SAME.items():
        if short in table:
            entry[field] = table[short]
    if "memory_max" in table:
        entry["memory_max_bytes"] = size_bytes(str(table["memory_max"]), "memory_max")
    if "age_max" in table:
        entry["age_max_s"] = span_s(str(table["age_max"]), "age_max")
    if "watch" in table:
        entry["watch_files"] = ["."] if table["watch"] is True else _words(table["watch"])
    return entry


def _words(value: object) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise SettingsError("", "arguments", f"expected a list of texts, not {value!r}")
    return list(value)
