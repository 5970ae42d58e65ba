"""What the tests of the pages share: a browser, a demo, and a visitor's page of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import opened_page, running_browser
from tests.support.demo import Demo, running_demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run a demo for the tests of one file."""
    with running_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Run a browser for the tests of one file."""
    with running_browser(tmp_path_factory.mktemp("home")) as launched:
        yield launched


@pytest.fixture
def page(browser: Browser, demo: Demo) -> Iterator[Page]:
    """Open a fresh visitor's page of the demo."""
    with opened_page(browser, demo.address) as opened:
        yield opened
