"""Rules for every test run."""

from __future__ import annotations

import os

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that a skip is a failure in CI, below the list of what was skipped."""
    if _in_ci() and terminalreporter.stats.get("skipped"):
        terminalreporter.section("skipped in CI, where nothing may be", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a CI run in which something was skipped: there all that a test needs must be present."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if _in_ci() and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _in_ci() -> bool:
    return os.environ.get("CI") == "true"
