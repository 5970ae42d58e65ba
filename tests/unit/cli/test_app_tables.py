"""`[app.NAME]`: what is wrong is said in the words of the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from madang.cli.app_tables import read_applications
from madang.core.errors import SettingsError

ROOT = Path(__file__).resolve().parents[3]
WEB = {"target": "main:app", "port": 8000}


def refused(tables: dict[str, object]) -> str:
    """Return why these tables are refused."""
    with pytest.raises(SettingsError) as error:
        read_applications(tables, "madang.toml")
    return error.value.message


def test_a_wrong_key_is_named_with_the_nearest_and_those_that_are_documented() -> None:
    said = refused({"web": {**WEB, "instnaces": 2}})
    assert said.startswith("madang.toml: [app.web] instnaces: is no key of an application;")
    assert "did you mean instances?" in said
    listed = re.findall(r"\w+", said.partition("(there are ")[2])
    assert {"target", "port", "env", "memory_max", "cron", "watch", "program"} < set(listed)
    assert not {"name", "environment", "memory_max_bytes", "watch_files"} & set(listed)
    for page in ("cluster.md", "from-pm2.md"):
        text = (ROOT / "docs" / "guide" / page).read_text()
        for table in re.findall(r"\n\[app\.\w+\]\n(.*?)\n(?:\n|```)", text, re.DOTALL):
            assert set(re.findall(r"^(\w+) =", table, re.MULTILINE)) <= set(listed)
    assert "did you mean" not in refused({"web": {**WEB, "xyzzy": 2}})


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"port": 99_999}, "[app.web] port: expected a port 0 to 65535, not 99999"),
        ({"env": {"A": "\0"}}, "[app.web]: expected arguments and environment without NUL"),
        ({"env": 3}, "[app.web] env: expected a table"),
        ({"cron": "soon"}, "[app.web] cron: expected a cron expression"),
        ({"memory_max": "lots"}, "[app.web] memory_max: expected a size"),
        ({"instances": "many"}, "[app.web] instances: expected a number"),
    ],
)
def test_a_wrong_value_is_named_by_the_key_of_the_file(
    table: dict[str, object], words: str
) -> None:
    assert words in refused({"web": {**WEB, **table}})


def test_two_tables_that_are_in_each_others_way_are_named() -> None:
    said = refused({"web": WEB, "w2": WEB})
    assert "madang.toml: [app.w2] port: 127.0.0.1:8000 belongs to web" in said
    for names in (("web", "web-0"), ("web-0", "web")):
        tables = {name: {**WEB, "port": port} for port, name in enumerate(names, 8000)}
        assert "web-0 is the name of an instance of web: choose another" in refused(dict(tables))
