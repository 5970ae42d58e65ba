"""The table of `ls`, and what is said below it."""

from __future__ import annotations

from madang.cli.listing import table

ROW = {
    "app": "web", "state": "errored", "pid": None, "generation": 1, "uptime_s": 0, "restarts": 3,
    "last_exit": "exit 1", "status": "", "tail": ["first", "last"],
}  # fmt: skip
LOG = {"dropped_lines": 0, "problem": ""}


def test_what_several_instances_said_last_is_shown_once_with_their_number() -> None:
    rows = [{**ROW, "name": f"web-{n}"} for n in range(3)]
    rows += [{**ROW, "name": "web-3", "tail": ["other"]}, {**ROW, "name": "web-4", "tail": []}]
    answer = {"rows": rows, "applications": [], "operations": [], "log": LOG}
    assert table(answer).splitlines()[6:] == [
        "web (3 instances) | first",
        "web (3 instances) | last",
        "web-3 | other",
    ]
