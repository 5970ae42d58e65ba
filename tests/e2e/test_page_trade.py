"""The trading page in a real browser against the real product, as a person would use it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from decimal import Decimal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.support.demo import Demo, running_demo

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
SYMBOL = "AAPL"
# Five times what a person would call slow, for two shared cores.
PATIENCE_MS = 20_000
FAR_BELOW_THE_MARKET = "150"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    # The browser keeps files of its own at home, so it gets another one.
    home: dict[str, str | float | bool] = {
        **os.environ,
        "HOME": str(tmp_path_factory.mktemp("home")),
    }
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, env=home)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, demo: Demo) -> Iterator[Page]:
    """A fresh visitor; whatever the page throws or its content policy blocks fails the test."""
    expect.set_options(timeout=PATIENCE_MS)
    context = browser.new_context(
        base_url=demo.address, locale="en-US", viewport={"width": 1440, "height": 900}
    )
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "console",
        lambda message: (
            problems.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    yield opened
    context.close()
    assert problems == []


def open_market(page: Page, symbol: str = SYMBOL) -> None:
    page.goto(f"/trade/{symbol}")
    expect(connection(page)).to_have_attribute("data-state", "live")
    expect(page.get_by_test_id("bids").locator("tr:not(.gap)").first).to_be_visible()


def connection(page: Page) -> Locator:
    return page.get_by_test_id("connection")


def sign_in(page: Page, demo: Demo) -> None:
    """Sign in without the mouse."""
    page.get_by_role("button", name="Sign in").press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Name")).to_be_focused()
    page.keyboard.type(demo.name)
    page.keyboard.press("Tab")
    page.keyboard.type(demo.password)
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def amount(text: str | None) -> Decimal:
    assert text is not None
    return Decimal(text.strip().lstrip("$").replace(",", ""))


def trade_times(page: Page) -> list[str]:
    return page.get_by_test_id("trades").locator("tr").all_text_contents()


def test_the_front_page_lists_the_market_and_leads_to_it(page: Page) -> None:
    page.goto("/")
    rows = page.get_by_role("link", name="Trade ")
    expect(rows).to_have_count(8)
    page.get_by_role("link", name=f"Trade {SYMBOL}").click()
    expect(page).to_have_url(f"{page.evaluate('location.origin')}/trade/{SYMBOL}")
    expect(page.get_by_role("heading", name=SYMBOL)).to_be_visible()


def test_anybody_may_watch_and_the_market_moves(page: Page) -> None:
    open_market(page)
    for side in ("bids", "asks"):
        expect(page.get_by_test_id(side).locator("tr:not(.gap)").nth(4)).to_be_visible()
    bid = amount(page.get_by_test_id("bids").locator("tr:not(.gap) .price").first.text_content())
    ask = amount(page.get_by_test_id("asks").locator("tr:not(.gap) .price").last.text_content())
    assert bid < ask
    before = trade_times(page)
    page.wait_for_function(
        "old => document.querySelector('[data-testid=trades] tr')?.textContent !== old",
        arg=before[0] if before else None,
    )
    expect(page.get_by_text("Sign in to place orders")).to_be_visible()
    expect(page.get_by_role("button", name=f"Buy {SYMBOL}")).to_be_disabled()


def test_a_wrong_password_is_refused_and_escape_closes_the_dialog(page: Page) -> None:
    open_market(page)
    page.get_by_role("button", name="Sign in").click()
    page.keyboard.type("demo")
    page.keyboard.press("Tab")
    page.keyboard.type("not the password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Wrong name or password.")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_person_orders_cancels_and_buys(page: Page, demo: Demo) -> None:
    open_market(page)
    sign_in(page, demo)
    expect(page.get_by_test_id("cash")).to_have_text("$100,000.00")

    page.get_by_label("Limit price", exact=True).fill(FAR_BELOW_THE_MARKET)
    page.get_by_label("Quantity", exact=True).fill("10")
    expect(page.get_by_test_id("estimate")).to_have_text("$1,500.00")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("said")).to_contain_text(f"Buy 10 {SYMBOL}: accepted.")
    row = page.get_by_test_id("orders-open").locator("tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("150.00")
    # What the order may cost is held, so less can be bought; the cash is still there.
    expect(page.get_by_test_id("buying-power")).not_to_have_text("$100,000.00")
    expect(page.get_by_test_id("cash")).to_have_text("$100,000.00")

    row.get_by_role("button", name=f"Cancel Buy 10 {SYMBOL}").click()
    expect(page.get_by_text("No open orders.")).to_be_visible()
    expect(page.get_by_test_id("buying-power")).to_have_text("$100,000.00")

    page.get_by_label("Order type").select_option("market")
    page.get_by_label("Quantity", exact=True).fill("3")
    expect(page.get_by_test_id("estimate")).not_to_have_text("\N{EN DASH}")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("said")).to_contain_text(f"Buy 3 {SYMBOL}")
    position = page.get_by_test_id("positions").locator("tr", has_text=SYMBOL)
    expect(position.locator("td").nth(1)).to_have_text("3")
    expect(page.get_by_test_id("cash")).not_to_have_text("$100,000.00")
    page.get_by_text("Recent orders").click()
    recent = page.get_by_test_id("orders-recent").locator("tr").first
    expect(recent).to_contain_text("filled")


def test_a_refusal_is_shown_in_the_words_of_the_venue(page: Page, demo: Demo) -> None:
    open_market(page, "MSFT")
    sign_in(page, demo)
    page.get_by_label("Quantity", exact=True).fill("none")
    page.get_by_label("Limit price", exact=True).fill("400")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Enter a number above zero.")
    expect(page.get_by_label("Quantity", exact=True)).to_be_focused()
    page.get_by_label("Quantity", exact=True).fill("1000000")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("said")).to_contain_text("Refused: insufficient buying power")


def test_everything_is_canceled_only_after_a_question(page: Page, demo: Demo) -> None:
    open_market(page, "TSLA")
    sign_in(page, demo)
    price = page.get_by_label("Limit price", exact=True)
    price.fill("200")
    price.press("ArrowUp")
    expect(price).to_have_value("200.01")
    page.get_by_label("Quantity", exact=True).fill("2")
    rows = page.get_by_test_id("orders-open").locator("tr")
    for count in (1, 2):
        page.get_by_role("button", name="Buy TSLA").click()
        expect(rows).to_have_count(count)
    page.get_by_role("button", name="Cancel all").press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Cancel all 2 open orders?")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Cancel all").click()
    dialog.get_by_role("button", name="Cancel all").click()
    expect(page.get_by_text("No open orders.")).to_be_visible()


def test_the_page_comes_back_by_itself_when_its_worker_is_killed(page: Page, demo: Demo) -> None:
    open_market(page)
    # Whatever the page says of its connection from here on, in order.
    page.evaluate(
        """() => {
            const shown = document.querySelector('[data-testid=connection]');
            window.said = [];
            new MutationObserver(() => window.said.push(shown.dataset.state))
                .observe(shown, { attributes: true, attributeFilter: ['data-state'] });
        }"""
    )
    assert demo.kill("worker") == 2
    page.wait_for_function("() => window.said.includes('waiting') && window.said.at(-1) === 'live'")
    before = trade_times(page)
    page.wait_for_function(
        "old => document.querySelector('[data-testid=trades] tr')?.textContent !== old",
        arg=before[0] if before else None,
    )
    expect(page.get_by_test_id("stale")).to_have_count(0)


def test_korean_is_chosen_once_and_remembered(page: Page) -> None:
    open_market(page)
    page.get_by_role("button", name="한국어").click()
    expect(page.get_by_role("button", name="로그인")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="로그인")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "ko"


def test_a_phone_shows_everything_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_market(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_symbol_that_does_not_exist_is_said_to(page: Page) -> None:
    page.goto("/trade/NOSUCH")
    expect(page.get_by_role("alert")).to_be_visible()
