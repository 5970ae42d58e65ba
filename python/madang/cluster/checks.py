"""Settings that cannot be used are refused by name, before anything has started."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import signal
from collections.abc import Collection, Iterable, Mapping

from madang.cluster.entries import encode_application
from madang.cluster.schedule import next_after
from madang.cluster.settings import (
    INSTANCES_MAX,
    OPTIONS_BYTES_MAX,
    PORTS_MAX,
    ApplicationSettings,
    Balance,
    ClusterSettings,
    Kind,
)
from madang.core.errors import SettingsError

UNIX_PATH_MAX = 107
WEIGHT_MAX = 1_000
ENTRY_BYTES_MAX = 48 * 1024
NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
INSTANCE = re.compile(r"(.+)-(0|[1-9]\d*)")
TARGETS = {
    Kind.ROLE: (re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"), '"package.module:function"'),
    Kind.ASGI: (
        re.compile(r"([A-Za-z_][\w.]*|[^:\0]+\.py):[A-Za-z_][\w.]*"),
        '"package.module:app" or "file.py:app"',
    ),
    Kind.PYTHON: (re.compile(r"-m [A-Za-z_][\w.]*|[^-\0][^\0]*"), 'a script or "-m module"'),
    Kind.COMMAND: (re.compile(r"[^\0]+"), "a program"),
}
READY_URL = re.compile(r"http://([^/:\s]+):(\d+|\{port\})(/\S*)?")
RESERVED = frozenset({"all", "madang", "template", "logger"})


def check(settings: ClusterSettings) -> None:
    """Raise SettingsError naming the first setting that cannot be used."""
    names = [application.name for application in settings.applications]
    if len(set(names)) != len(names):
        raise SettingsError("cluster", "applications", "expected unique names")
    check_names(names)
    for application in settings.applications:
        check_application(application)
    check_ports(settings.applications)
    watchdog = settings.watchdog
    if not 0 < watchdog.heartbeat_ms < watchdog.stall_ms < watchdog.abort_ms:
        raise SettingsError("cluster", "watchdog", "expected heartbeat_ms < stall_ms < abort_ms")
    if watchdog.busy_ms < watchdog.abort_ms:
        raise SettingsError("cluster", "watchdog", "expected busy_ms of at least abort_ms")
    socket_path = settings.runtime_dir / "control.sock"
    if len(os.fsencode(socket_path.absolute())) > UNIX_PATH_MAX:
        limit = UNIX_PATH_MAX - len("/control.sock")
        raise SettingsError("cluster", "runtime_dir", f"expected a path of at most {limit} bytes")


def check_names(names: Collection[str]) -> None:
    """Refuse an application that is named as an instance of another is, or will be."""
    for name in names:
        found = INSTANCE.fullmatch(name)
        if found and found[1] in names:
            text = f"{name} is the name of an instance of {found[1]}: choose another"
            raise SettingsError("cluster", f"applications.{name}", text)


def check_ports(applications: Iterable[ApplicationSettings]) -> None:
    """Refuse two ports of one name or one address."""
    owners: dict[str, str] = {}
    for application in applications:
        where = f"applications.{application.name}.ports"
        for port in application.ports:
            address = [f"{port.host}:{port.port}"] if port.port else []
            for key in (f"the port name {port.name}", *address):
                if key in owners:
                    text = f"{key} belongs to {owners[key]}: choose another, or delete that one"
                    raise SettingsError("cluster", where, text)
                owners[key] = application.name


def check_application(application: ApplicationSettings) -> None:
    """Refuse an entry that cannot be run."""
    where = f"applications.{application.name}"
    if not NAME.fullmatch(application.name):
        raise SettingsError("cluster", where, f"expected a name matching {NAME.pattern}")
    texts = {**encode_application(application), "options": None}
    _check_texts(texts, where)
    if application.name in RESERVED:
        raise SettingsError("cluster", where, f"{application.name!r} is a word of ours")
    pattern, expected = TARGETS[application.kind]
    if not pattern.fullmatch(application.target):
        raise SettingsError("cluster", f"{where}.target", f"expected {expected}")
    if not 1 <= application.instances <= INSTANCES_MAX:
        raise SettingsError("cluster", f"{where}.instances", f"expected 1 to {INSTANCES_MAX}")
    if application.exclusive and (application.instances > 1 or application.autoscale):
        raise SettingsError("cluster", f"{where}.exclusive", "expected a single instance")
    _check_limits(application, where)
    _check_data(application, where)
    _check_life(application, where)
    for port in application.ports:
        _check_port(application, port.port, port.name, port.inherit)


def _check_texts(value: object, where: str) -> None:
    """Refuse a text that no argument, variable or path can be: the system knows bytes.

    Bytes that are no UTF-8 are surrogates in a text, as in `sys.argv` and `os.environ`; others
    stand for no bytes.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_texts([key, item], where)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_texts(item, where)
    elif isinstance(value, str):
        try:
            value.encode(errors="surrogateescape")
        except UnicodeEncodeError as error:
            raise SettingsError("cluster", where, f"expected a text, not {value!r}") from error


def _check_limits(application: ApplicationSettings, where: str) -> None:
    timeouts = (
        application.stop_timeout_ms,
        application.start_timeout_ms,
        application.hand_over_ms,
    )
    if min(timeouts) <= 0:
        raise SettingsError("cluster", where, "expected time-outs above 0 ms")
    limits = (
        application.watch_ms,
        application.memory_max_bytes,
        application.age_max_s,
        application.requests_max,
        application.min_uptime_ms or 0,
        application.max_restarts or 0,
        application.backoff_ms or 0,
        application.backoff_max_ms or 0,
    )
    if min(limits) < 0:
        raise SettingsError("cluster", where, "expected limits of at least 0")
    if not 0 <= application.error_rate_max <= 1:
        raise SettingsError("cluster", f"{where}.error_rate_max", "expected 0 to 1")
    scale = application.autoscale
    if scale is not None and not 1 <= scale.minimum <= scale.maximum <= INSTANCES_MAX:
        text = f"expected 1 <= minimum <= maximum <= {INSTANCES_MAX}"
        raise SettingsError("cluster", f"{where}.autoscale", text)
    if scale is not None and not 0 < scale.cpu_low_percent < scale.cpu_high_percent:
        text = "expected 0 < cpu_low_percent < cpu_high_percent"
        raise SettingsError("cluster", f"{where}.autoscale", text)


def _check_data(application: ApplicationSettings, where: str) -> None:
    try:
        options = json.dumps(dict(application.options))
    except (TypeError, ValueError) as error:
        raise SettingsError("cluster", f"{where}.options", "expected plain JSON data") from error
    if len(options) > OPTIONS_BYTES_MAX:
        text = f"expected at most {OPTIONS_BYTES_MAX} bytes of JSON"
        raise SettingsError("cluster", f"{where}.options", text)
    words = (*application.arguments, *application.environment, *application.environment.values())
    if any("\0" in word for word in words) or any("=" in n for n in application.environment):
        text = "expected arguments and environment without NUL, names without ="
        raise SettingsError("cluster", where, text)
    if sum(len(word.encode(errors="surrogateescape")) for word in words) > ENTRY_BYTES_MAX:
        text = f"expected arguments and environment of at most {ENTRY_BYTES_MAX} bytes"
        raise SettingsError("cluster", where, text)
    if any(not 0 <= weight <= WEIGHT_MAX for weight in application.weights):
        raise SettingsError("cluster", f"{where}.weights", f"expected 0 to {WEIGHT_MAX} each")
    if application.balance is Balance.WEIGHTS and not any(application.weights):
        raise SettingsError("cluster", f"{where}.weights", "expected one weight above 0 at least")


def _check_life(application: ApplicationSettings, where: str) -> None:
    _check_ready(application, f"{where}.ready")
    if application.stop_signal not in signal.Signals.__members__:
        text = "expected the name of a signal, such as SIGTERM"
        raise SettingsError("cluster", f"{where}.stop_signal", text)
    if application.stop_signal != "SIGTERM" and not application.is_foreign:
        raise SettingsError("cluster", f"{where}.stop_signal", "a role stops on SIGTERM only")
    if application.restart_schedule:
        try:
            next_after(application.restart_schedule, 0)
        except ValueError as error:
            text = f"expected a cron expression: {error}"
            raise SettingsError("cluster", f"{where}.restart_schedule", text) from error


def _check_ready(application: ApplicationSettings, where: str) -> None:
    if application.ready in ("notify", "started"):
        return
    found = READY_URL.fullmatch(application.ready)
    if not found:
        text = 'expected "notify", "started" or "http://127.0.0.1:{port}/path"'
        raise SettingsError("cluster", where, text)
    host, port = found[1], found[2]
    if port == "{port}" and not application.ports:
        raise SettingsError("cluster", where, "{port} stands for a port, and there is none")
    try:
        ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise SettingsError("cluster", where, "expected an IPv4 address for a host") from error


def _check_port(application: ApplicationSettings, port: int, name: str, inherit: bool) -> None:
    where = f"applications.{application.name}.ports"
    if not 0 <= port <= 65_535:
        raise SettingsError("cluster", where, f"expected a port 0 to 65535, not {port}")
    if not NAME.fullmatch(name):
        text = f"expected a name of a port matching {NAME.pattern}, not {name!r}"
        raise SettingsError("cluster", where, text)
    if len(application.ports) > PORTS_MAX:
        raise SettingsError("cluster", where, f"expected at most {PORTS_MAX}")
    if not inherit and not application.is_foreign:
        raise SettingsError("cluster", where, "a role inherits its sockets")
    if not inherit and not 0 < port <= 65_535 - INSTANCES_MAX:
        text = f"expected a port 1 to {65_535 - INSTANCES_MAX} for instances that bind themselves"
        raise SettingsError("cluster", where, text)
