"""`madang logs` and `madang flush` over files as the logger leaves them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from madang.cli.log_commands import flush, show, since_stamp
from madang.cluster.logs import Follower

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "web.log").write_text(
        "2026-11-22T11:00:00.000Z web-0 | first\n"
        '2026-11-22T11:59:00.000Z web-1 | {"event": "served", "level": "info"}\n'
    )
    (folder / "venue.log").write_text("2026-11-22T11:30:00.000Z venue | second\n")
    return tmp_path


def run(command: object, *arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output if result.exit_code == 0 else str(result.exception)


def test_lines_are_shown_in_order_of_time_by_name_and_number(state: Path) -> None:
    code, said = run(show, "--state", str(state))
    assert code == 0
    assert [line.split(" | ")[1] for line in said.splitlines()][:2] == ["first", "second"]
    assert len(run(show, "web", "--state", str(state))[1].splitlines()) == 2
    assert len(run(show, "--app", "web-1", "--state", str(state))[1].splitlines()) == 1
    assert run(show, "-n", "1", "--app", "venue", "--state", str(state))[1].endswith("| second\n")
    assert run(show, "--since", "2026-11-22T11:40:00Z", "--state", str(state))[1].count("\n") == 1


def test_following_goes_on_behind_the_lines_shown_though_more_come_meanwhile(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, waits, begin = state / "logs" / "web.log", iter((0.1,)), Follower.begin

    def write(*numbers: int) -> None:
        with path.open("a") as file:
            file.writelines(f"2026-11-22T12:00:0{n}.000Z web-0 | {n}\n" for n in numbers)

    def begin_amid_lines(follower: Follower) -> None:
        write(0, 1)
        begin(follower)
        write(2, 3, 4)

    def wait(_: float) -> None:
        if next(waits, None) is None:
            raise KeyboardInterrupt
        write(5)

    monkeypatch.setattr(Follower, "begin", begin_amid_lines)
    monkeypatch.setattr("madang.cli.log_commands.time.sleep", wait)
    said = run(show, "web", "-f", "--lines", "2", "--state", str(state))[1]
    assert [line.split(" | ")[1] for line in said.splitlines()] == list("012345")


def test_json_gives_one_object_a_line_with_the_record_inside(state: Path) -> None:
    said = run(show, "web", "--json", "--state", str(state))[1]
    first, second = (json.loads(line) for line in said.splitlines())
    assert first == {"at": "2026-11-22T11:00:00.000Z", "instance": "web-0", "text": "first"}
    assert second["record"]["event"] == "served"


def test_a_name_that_has_no_logs_is_said(state: Path) -> None:
    code, said = run(show, "wbe", "--state", str(state))
    assert code == 1
    assert "no logs of wbe; there are venue, web" in said
    assert "no logs here" in run(show, "--state", str(state / "other"))[1]


def test_flush_empties_what_is_named(state: Path) -> None:
    assert "bytes of logs are gone" in run(flush, "venue", "--state", str(state))[1]
    assert run(show, "--state", str(state))[1].count("\n") == 2
    run(flush, "--state", str(state))
    assert run(show, "--state", str(state))[1] == ""


def test_ages_and_times_are_understood_and_nonsense_is_refused() -> None:
    assert since_stamp("10m", NOW) == "2026-11-22T11:50:00.000Z"
    assert since_stamp("2d", NOW) == "2026-11-20T12:00:00.000Z"
    assert since_stamp("2026-11-22T13:00+02:00", NOW) == "2026-11-22T11:00:00.000Z"
    for nonsense in ("", "10", "10x", "yesterday", "-5m", "2026-13-01"):
        with pytest.raises(typer.BadParameter):
            since_stamp(nonsense, NOW)
