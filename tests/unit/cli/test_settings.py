"""Settings: file, then environment, then flags; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from madang.cli.app import compose, demo_venue
from madang.cli.first import TEMPLATE, init
from madang.cli.place import SOCKET_PATH_MAX
from madang.cli.settings import load, runtime_dir
from madang.core.errors import SettingsError
from madang.exchange.bootstrap import PENDING, load_plans
from madang.exchange.demo.people import SYMBOLS


def write(folder: Path, text: str) -> Path:
    """Write a settings file."""
    path = folder / "madang.toml"
    path.write_text(text)
    return path


def test_flags_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[edge]\nport = 1\nhost = "::1"\n[cluster]\nworkers = 3\n')
    environment = {"MADANG_EDGE_PORT": "2", "MADANG_CLUSTER_WORKERS": "4", "OTHER": "x"}
    settings = load(path, environment, {"edge": {"port": 5, "host": None}})
    assert (settings.listen.port, settings.listen.host) == (5, "::1")
    assert settings.cluster.worker_count() == 4


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[edge]\nprot = 1\n", "prot"),
        ("[market]\n", "[market]"),
        ("edge = 1\n", "[edge]"),
        ('[edge]\nport = "many"\n', "[edge.port]"),
        ("[edge]\nport = 70000\n", "[edge.port]"),
        ("[edge]\nheader_bytes_max = 0\n", "[edge]"),
        ("[cluster]\nworkers = 0\n", "[cluster.workers]"),
        ('[cluster]\nworkers = "all"\n', "[cluster.workers]"),
        ('[[venue.instruments]]\nsymbol = "A"\ntick = "0"\n', "instruments.A.tick"),
        ('[[venue.instruments]]\nname = "A"\n', "[venue.instruments"),
        ("[ledger]\nsnapshot_every = 0\n", "[ledger.snapshot_every]"),
        ("port = \n", "TOML"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path, {}, {}).cluster.worker_count()
    assert named in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "none.toml", {}, {})


def test_the_runtime_folder_is_short_enough_for_sockets(tmp_path: Path) -> None:
    assert runtime_dir(Path("/srv/madang")) == Path("/srv/madang/run")
    long = tmp_path / ("x" * 100)
    assert len(str(runtime_dir(long))) < SOCKET_PATH_MAX
    assert runtime_dir(long) == runtime_dir(long) != runtime_dir(long / "y")


def test_init_writes_a_file_that_loads_and_secrets_only_as_hashes(tmp_path: Path) -> None:
    lines = init(tmp_path, "boss")
    settings = load(tmp_path / "madang.toml", {}, {})
    assert [i.symbol for i in settings.venue.instruments] == ["AAPL"]
    (plan,) = load_plans(tmp_path / ".madang" / PENDING)
    assert (plan.name, plan.role) == ("boss", "admin")
    said = {line.split()[0]: line.split()[-1] for line in lines if line.startswith("  ")}
    stored = (tmp_path / ".madang" / PENDING).read_text()
    assert said["secret"] not in stored
    assert said["password"] not in stored
    assert said["API"] in stored
    assert (tmp_path / ".madang" / PENDING).stat().st_mode & 0o777 == 0o600
    with pytest.raises(SettingsError, match="exists already"):
        init(tmp_path, "boss")


def test_the_template_shows_settings_that_exist(tmp_path: Path) -> None:
    shown = "\n".join(
        line.removeprefix("# ")
        for line in TEMPLATE.splitlines()
        if not line.startswith("# Madang") and "tls_" not in line and "engine" not in line
    )
    settings = load(write(tmp_path, shown), {}, {})
    assert settings.venue.timezone == "America/New_York"
    assert len(settings.venue.open_hours()) == 1


def test_the_venue_starts_first_and_the_demo_adds_traders(tmp_path: Path) -> None:
    settings = load(None, {}, {"cluster": {"state_dir": str(tmp_path), "workers": 2}})
    names = [application.name for application in compose(settings, demo=False).applications]
    assert names == ["venue", "ledger", "feed", "worker"]
    assert [a.name for a in compose(settings, demo=True).applications][-1] == "traders"
    flags = {"cluster": {"state_dir": str(tmp_path), "metrics_port": 9100}}
    exporter = compose(load(None, {}, flags), demo=False).applications[-1]
    assert exporter.name == "metrics"
    assert [(port.host, port.port) for port in exporter.ports] == [("127.0.0.1", 9100)]
    symbols = {instrument.symbol for instrument in demo_venue(settings.venue).instruments}
    assert symbols == set(SYMBOLS)
