"""What the guide says to type works as written, on a demo that has just been started."""

from __future__ import annotations

import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.demo import Demo, running_demo

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
LIMIT_S = 60.0
PAGES = ("start.md", "api.md", "market-data.md", "bots.md")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
_STREAMS = "stream.run()"


def blocks(page: str, language: str) -> list[str]:
    found = _BLOCK.findall((GUIDE / page).read_text())
    return [text for kind, text in found if kind == language]


PYTHON = [(page, number) for page in PAGES for number in range(len(blocks(page, "python")))]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("guide")) as running_now:
        yield running_now


def filled_in(text: str, demo: Demo) -> str:
    """Put the demo's address and key where the guide has its own."""
    text = text.replace("http://127.0.0.1:8000", demo.address)
    text = text.replace("ws://127.0.0.1:8000", demo.address.replace("http", "ws"))
    text = text.replace('"the key"', repr(demo.key_id)).replace('"the secret"', repr(demo.secret))
    return f"key, secret = {demo.key_id!r}, {demo.secret!r}\n{text}"


def order_something(demo: Demo) -> None:
    """Make an event for who listens."""
    program = filled_in(blocks("start.md", "python")[0], demo)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=LIMIT_S)


@pytest.mark.parametrize(("page", "number"), PYTHON)
def test_a_program_of_the_guide_runs(demo: Demo, page: str, number: int) -> None:
    text = filled_in(blocks(page, "python")[number], demo)
    command = [sys.executable, "-u", "-W", "ignore", "-c", text]
    if _STREAMS not in text:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        assert done.returncode == 0, done.stderr
        assert ("print(" in text) == bool(done.stdout)
        return
    listening = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert listening.stdout is not None
    try:
        end_s = time.monotonic() + LIMIT_S
        while not select.select([listening.stdout], [], [], 1.0)[0] and time.monotonic() < end_s:
            order_something(demo)
        assert "AAPL" in listening.stdout.readline()
    finally:
        listening.kill()
        listening.wait()
        listening.stdout.close()


def shell(line: str, folder: Path, demo: Demo) -> None:
    command = line.partition("#")[0].split()
    assert command[0] == "madang", line
    if "--state" not in command:
        command += ["--state", str(demo.state_dir)]
    done = subprocess.run(
        [sys.executable, "-m", "madang.cli.main", *command[1:]],
        capture_output=True, text=True, timeout=LIMIT_S, cwd=folder, input="a long password\n" * 2,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr


def test_the_commands_of_running_a_venue_work_as_written(demo: Demo, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    for block in blocks("operate.md", "sh"):
        for line in block.splitlines():
            shell(line, folder, demo)
