"""All settings in one frozen value: `madang.toml`, then MADANG_* variables, then flags.

`MADANG_EDGE_PORT=9000` sets `port` in `[edge]`. An unknown key or a bad value names the source, the
key and what was expected.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from madang.cli.app_tables import read_applications
from madang.cli.place import FILE as FILE
from madang.cli.place import runtime_dir as runtime_dir
from madang.cluster.balancers.settings import BalancerSettings
from madang.cluster.settings import ApplicationSettings
from madang.core.errors import SettingsError
from madang.core.settings import decode_section
from madang.edge.settings import EdgeSettings
from madang.exchange.ledger.settings import LedgerSettings
from madang.exchange.registration import AccountsSettings
from madang.exchange.stream.settings import StreamSettings
from madang.exchange.venue.settings import VenueSettings
from madang.hub.settings import HubSettings

PREFIX = "MADANG_"
APPLICATIONS = "app"
WORKERS_MAX = 256


class ClusterSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[cluster]`: where state lives and how many workers run ("max": one per core).

    `metrics_port` serves `/metrics` on `metrics_host` too, 0 for nowhere.
    """

    state_dir: str = ".madang"
    workers: int | str = "max"
    metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    metrics_host: str = "127.0.0.1"

    def worker_count(self) -> int:
        """Return the number of workers."""
        if self.workers == "max":
            return len(os.sched_getaffinity(0))
        if str(self.workers).isdecimal() and 1 <= int(self.workers) <= WORKERS_MAX:
            return int(self.workers)
        raise SettingsError(FILE, "[cluster.workers]", 'expected "max" or a number from 1 to 256')


class ListenSection(msgspec.Struct, frozen=True):
    """The part of `[edge]` that says where to listen."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8000


class Settings(msgspec.Struct, frozen=True):
    """Everything `madang up` needs to know."""

    cluster: ClusterSection
    listen: ListenSection
    edge: EdgeSettings
    venue: VenueSettings
    ledger: LedgerSettings
    stream: StreamSettings
    hub: HubSettings
    balancer: BalancerSettings
    accounts: AccountsSettings = AccountsSettings()
    applications: tuple[ApplicationSettings, ...] = ()
    has_market: bool = True

    @property
    def state_dir(self) -> Path:
        """Where everything that must survive lies."""
        return Path(self.cluster.state_dir).absolute()

    @property
    def runtime_dir(self) -> Path:
        """Where sockets lie: in the state folder if its path is short enough."""
        return runtime_dir(self.state_dir)


SECTIONS = ("cluster", "edge", "venue", "ledger", "stream", "hub", "balancer", "accounts")


def load(
    path: Path | None, environment: Mapping[str, str], flags: Mapping[str, Mapping[str, object]]
) -> Settings:
    """Read `path` (None: no file), environment and flags; SettingsError says what is wrong."""
    source = str(path) if path else "settings"
    tables = _read(path) if path else {}
    for section in tables:
        if section not in (*SECTIONS, APPLICATIONS):
            known = ", ".join((*SECTIONS, f"{APPLICATIONS}.NAME"))
            raise SettingsError(source, f"[{section}]", f"expected one of {known}")
    # Where applications are described, the market is one of them only if it is spoken of.
    has_market = APPLICATIONS not in tables or "venue" in tables
    for section in SECTIONS:
        table = dict(_table(tables, section, source))
        table.update(_from_environment(environment, section))
        table.update({k: v for k, v in flags.get(section, {}).items() if v is not None})
        tables[section] = table
    found = _compose(tables, source)
    applications = read_applications(_table(tables, APPLICATIONS, source), source)
    return msgspec.structs.replace(found, applications=applications, has_market=has_market)


def _compose(tables: dict[str, object], source: str) -> Settings:
    edge = dict(_table(tables, "edge", source))
    listen: dict[str, object] = {k: edge.pop(k) for k in ("host", "port") if k in edge}
    section = {name: _table(tables, name, source) for name in SECTIONS}
    return Settings(
        cluster=decode_section(ClusterSection, section["cluster"], source, "cluster"),
        listen=decode_section(ListenSection, listen, source, "edge"),
        edge=decode_section(EdgeSettings, edge, source, "edge"),
        venue=decode_section(VenueSettings, section["venue"], source, "venue"),
        ledger=decode_section(LedgerSettings, section["ledger"], source, "ledger"),
        stream=decode_section(StreamSettings, section["stream"], source, "stream"),
        hub=decode_section(HubSettings, section["hub"], source, "hub"),
        balancer=decode_section(BalancerSettings, section["balancer"], source, "balancer"),
        accounts=decode_section(AccountsSettings, section["accounts"], source, "accounts"),
    )


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(str(path), "file", f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), "file", f"is not TOML: {error}") from error


def _table(tables: Mapping[str, object], section: str, source: str) -> Mapping[str, object]:
    table = tables.get(section, {})
    if not isinstance(table, dict):
        raise SettingsError(source, f"[{section}]", "expected a table")
    return table


def _from_environment(environment: Mapping[str, str], section: str) -> dict[str, object]:
    prefix = f"{PREFIX}{section.upper()}_"
    return {
        name.removeprefix(prefix).lower(): value
        for name, value in environment.items()
        if name.startswith(prefix)
    }
