"""Millions of commands through both engines, a new seed each time unless MADANG_SEED is set."""

from __future__ import annotations

import os
import secrets
import sys

import pytest

from madang.exchange.engine.python import PythonEngine
from tests.support.agreement import Run, RunSettings

pytest.importorskip("madang_core", reason="the compiled engine is not installed")
from madang.exchange.engine import rust

COMMANDS = int(os.environ.get("MADANG_SOAK_COMMANDS", "5000000"))


def test_events_and_hashes_are_equal_over_millions_of_commands() -> None:
    seed = int(os.environ.get("MADANG_SEED", secrets.randbits(32)))
    sys.stdout.write(f"MADANG_SEED={seed} MADANG_SOAK_COMMANDS={COMMANDS}\n")
    restores = (PythonEngine.restore, rust.restore)
    settings = RunSettings(seed, COMMANDS, check_every=20_000, restores=restores)
    assert Run(settings, PythonEngine(), rust.create()).disagreement() is None
