"""Who knows pm2 finds each of its verbs in the guide, and every command named there exists."""

from __future__ import annotations

import re
from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command

from madang.cli import program

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide" / "from-pm2.md"
# The commands of pm2 7.0.3 (lib/binaries/CLI.js) with their short names, and its other binaries.
PM2 = set(
    """
    start stop restart reload startOrRestart startOrReload startOrGracefulReload delete del
    scale list ls l ps status jlist prettylist slist sysinfos describe info show desc env id
    pid monit imonit dashboard dash logs flush reloadLogs logrotate trigger send attach
    sendSignal inspect reset ping kill update save dump cleardump resurrect startup unstartup
    ecosystem init deploy pull forward backward serve install uninstall module:update
    module:generate package publish set get multiset unset conf config link unlink monitor
    unmonitor open plus login logout report profile:cpu profile:mem install-otel uninstall-otel
    examples pm2-runtime pm2-dev pm2-docker
    """.split()  # noqa: SIM905
)


def rows() -> dict[str, str]:
    """Return the left and the right side of each row of the table of verbs."""
    text = GUIDE.read_text(encoding="utf-8").partition("## Verbs")[2].partition("\n## ")[0]
    pairs = re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.M)
    return dict(pairs[1:])


def test_each_verb_of_pm2_has_a_line_that_says_something() -> None:
    found = {words.split()[0] for left in rows() for words in re.findall(r"`([^`]+)`", left)}
    assert sorted(PM2 - found) == []
    assert all(len(right) > len("`madang x`") for right in rows().values())


def test_every_command_that_the_guide_names_exists_with_its_options() -> None:
    program.add_market_commands()
    group = get_command(program.app)
    assert isinstance(group, TyperGroup)
    commands = group.commands
    named = re.findall(r"`madang ([^`]+)`", GUIDE.read_text(encoding="utf-8"))
    assert len(named) > 40
    for line in named:
        words = line.partition(" -- ")[0].split()
        if words[0].startswith("--"):
            assert words[0] in ("--install-completion",)
            continue
        assert words[0] in commands, line
        known = {option for p in commands[words[0]].params for option in [*p.opts]} | {"--help"}
        for word in words[1:]:
            if re.match(r"--?[a-z]", word):
                assert word in known, line
