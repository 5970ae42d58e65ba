"""The last steps before a program that is not ours: what is not permitted is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from madang.cluster import launch

NOBODY = 65534
ROOT = Path(__file__).resolve().parents[3]
CODE = f"""
import os, pwd, sys, warnings  # before: others may not be allowed to read our interpreter
from madang.cluster import launch
if os.getuid() == 0:
    os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
launch.main()
"""


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"nice": -5}, "the setting nice -5 is not permitted: take 0 or more, or run the"),
        ({"user": "root"}, "the setting user root is not permitted: leave it out, or run the"),
    ],
)
def test_a_setting_that_is_not_permitted_is_named(setting: dict[str, object], said: str) -> None:
    told = {"argv": ["/bin/true"], "nice": 0, "user": "", "directory": "", "pid_variables": []}
    told |= {"supervisor": os.getpid(), **setting}
    variables = {launch.VARIABLE: json.dumps(told), launch.OPEN_FILES_VARIABLE: "256"}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python"), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == launch.EXIT_CANNOT_RUN
    assert done.stderr.startswith(f"madang: {said}")
    assert done.stderr.count("\n") == 1
