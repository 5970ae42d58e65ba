"""`madang upgrade` as a person types it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cluster_harness import until
from tests.e2e.command_harness import Terminal, free_port, get, terminal


@pytest.fixture
def shell() -> Iterator[Terminal]:
    with terminal() as typing:
        yield typing


def test_upgrade_goes_on_with_what_runs_and_says_so(shell: Terminal) -> None:
    port = free_port()
    shell.good("start", "hello:app", "--name", "web", "-i", "2", "--port", str(port))
    before = {name: row["pid"] for name, row in shell.rows().items()}
    done = shell.good("upgrade")
    assert "checking whether the new code can take over" in done.out
    assert done.out.splitlines()[-1] == "upgrade madang: done"
    assert {name: row["pid"] for name, row in shell.rows().items()} == before
    assert get(port).startswith("one ")
    answer = shell.good("upgrade", "--json").json
    assert [operation["state"] for operation in answer["operations"]] == ["done"]
    shell.write("hello.py", "import nothing\n")
    assert shell.run("reload", "web").code == 1
    assert get(port).startswith("one ")
    shell.good("upgrade")
    shell.good("scale", "web", "1")
    shell.good("stop")
    until(lambda: get(port) == "")


def test_upgrade_without_anything_that_runs_says_so(shell: Terminal) -> None:
    done = shell.run("upgrade")
    assert (done.code, done.out) == (3, "")
    assert "no Madang runs here" in done.err
    assert shell.run("upgrade", "web").code == 2
