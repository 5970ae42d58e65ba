"""The wheel alone, as somebody gets it who has neither this repository nor Node nor cargo."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import urllib.request
import venv
from pathlib import Path

import pytest

from tests.arch.test_tidy import ROOT
from tests.support.demo import Demo, running_demo

BUILD_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 20


def run(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    """Build the wheel and install it in an environment that has its dependencies and no more."""
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("madang-*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    run("-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # What stands in a .pth file is searched, but its own .pth files, our source folder's one
    # among them, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python.parent


def fetch(demo: Demo, path: str, body: object = None) -> str:
    request = urllib.request.Request(
        demo.address + path,
        None if body is None else json.dumps(body).encode(),
        {
            "APCA-API-KEY-ID": demo.key_id,
            "APCA-API-SECRET-KEY": demo.secret,
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
        text: str = answer.read().decode()
        return text


def test_an_installed_wheel_runs_the_demo_with_its_pages(tmp_path: Path, binaries: Path) -> None:
    where = subprocess.check_output(
        [binaries / "python", "-c", "import madang; print(madang.__file__)"],
        cwd=tmp_path,
        text=True,
    )
    assert where.startswith(str(tmp_path)), "it is not the wheel that runs"
    alone = {"PATH": str(binaries), "HOME": str(tmp_path), "LANG": os.environ.get("LANG", "C")}
    with running_demo(tmp_path, madang=binaries / "madang", environment=alone) as demo:
        page = fetch(demo, "/trade/AAPL")
        scripts = {name: fetch(demo, name) for name in re.findall(r'src="(/[^"]+\.js)"', page)}
        assert all(scripts.values())
        (program,) = (text for name, text in scripts.items() if name.startswith("/assets/"))
        assert len(program) > 10_000, "the page's program is not the built one"
        order = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "limit_price": "1"}
        placed = json.loads(fetch(demo, "/v2/orders", {**order, "time_in_force": "gtc"}))
        assert placed["status"] == "new"
        assert json.loads(fetch(demo, f"/v2/orders/{placed['id']}"))["limit_price"] == "1"
