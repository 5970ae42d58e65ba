"""Debian's Chromium for tests of the pages: found or skipped, quiet, and with a home of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
# Root needs no sandbox of its own here; the rest keeps the browser from calling home.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Five times what a person would call slow, for two shared cores.
PATIENCE_MS = 20_000

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


@contextmanager
def running_browser(home: Path) -> Iterator[Browser]:
    """Yield a browser; what it keeps for itself goes to `home`."""
    environment: dict[str, str | float | bool] = {**os.environ, "HOME": str(home)}
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, env=environment)
        yield launched
        launched.close()


@contextmanager
def opened_page(browser: Browser, address: str, width: int = 1440) -> Iterator[Page]:
    """Yield a fresh visitor's page; what it throws or its content policy blocks is a failure."""
    expect.set_options(timeout=PATIENCE_MS)
    context = browser.new_context(
        base_url=address, locale="en-US", viewport={"width": width, "height": 900}
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: (
            problems.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    try:
        yield page
    finally:
        context.close()
    assert problems == []


def sign_in(page: Page, address: str, name: str, password: str) -> None:
    """Give the page's browser the cookies of a person."""
    answer = page.request.post(
        f"{address}/web/session",
        data={"name": name, "password": password},
        headers={"Origin": address},
    )
    assert answer.status == 204, answer.text()
