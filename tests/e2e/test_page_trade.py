"""The trading page in a real browser against the real product, as a person would use it."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.browser import needs_chromium
from tests.support.browser import sign_in as give_cookies
from tests.support.demo import Demo

SYMBOL = "AAPL"
FAR_BELOW_THE_MARKET = "150"
A_PRICE = re.compile(r"^\d+\.\d{2}$")

pytestmark = needs_chromium


def open_market(page: Page, symbol: str = SYMBOL) -> None:
    page.goto(f"/trade/{symbol}")
    expect(connection(page)).to_have_attribute("data-state", "live")
    expect(levels(page, "bids").first).to_be_visible()


def open_signed_in(page: Page, demo: Demo, symbol: str = SYMBOL) -> None:
    give_cookies(page, demo.address, demo.name, demo.password)
    open_market(page, symbol)
    expect(page.get_by_test_id("cash")).to_contain_text("$")


def levels(page: Page, side: str) -> Locator:
    return page.get_by_test_id(side).locator(".line:not(.gap)")


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
    expect(page.get_by_test_id("account-menu")).to_have_attribute("data-signed-in", "yes")


def amount(text: str | None) -> Decimal:
    assert text is not None
    return Decimal(text.strip().lstrip("$").replace(",", ""))


def trade_times(page: Page) -> list[str]:
    return page.get_by_test_id("trades").locator("tr").all_text_contents()


def test_anybody_may_watch_and_the_market_moves(page: Page) -> None:
    open_market(page)
    for side in ("bids", "asks"):
        expect(levels(page, side).nth(4)).to_be_visible()
    bid = amount(levels(page, "bids").first.locator(".price").text_content())
    ask = amount(levels(page, "asks").last.locator(".price").text_content())
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


def test_a_person_orders_replaces_cancels_buys_and_closes(page: Page, demo: Demo) -> None:
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
    expect(page.get_by_test_id("buying-power")).to_have_text("$98,500.00")
    expect(page.get_by_test_id("cash")).to_have_text("$100,000.00")

    row.get_by_role("button", name=f"Replace Buy 10 {SYMBOL}").press("Enter")
    expect(row.get_by_label("Limit price")).to_be_focused()
    page.keyboard.type("140.5")
    page.keyboard.press("Tab")
    page.keyboard.type("4")
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"Replaced: Buy 4 {SYMBOL}.")).to_be_visible()
    expect(row).to_have_count(1)
    expect(row).to_contain_text("140.50")
    expect(page.get_by_test_id("buying-power")).to_have_text("$99,438.00")

    row.get_by_role("button", name=f"Cancel Buy 4 {SYMBOL}").click()
    expect(page.get_by_text("No open orders.")).to_be_visible()
    expect(page.get_by_test_id("buying-power")).to_have_text("$100,000.00")

    page.get_by_label("Order type").select_option("market")
    page.get_by_label("Quantity", exact=True).fill("3")
    expect(page.get_by_test_id("estimate")).not_to_have_text("\N{EN DASH}")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("said")).to_contain_text(f"Buy 3 {SYMBOL}")
    page.get_by_role("tab", name="Fills").click()
    expect(page.get_by_test_id("fills").locator("tr").first).to_contain_text(SYMBOL)
    page.get_by_role("tab", name="History").click()
    expect(page.get_by_test_id("orders-recent").locator("tr").first).to_contain_text("filled")

    page.get_by_role("tab", name="Positions").click()
    position = page.get_by_test_id("positions").locator("tr", has_text=SYMBOL)
    expect(position.locator("td").nth(1)).to_have_text("3")
    expect(page.get_by_test_id("cash")).not_to_have_text("$100,000.00")
    position.get_by_role("button", name=f"Close the position in {SYMBOL}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Sell all 3 {SYMBOL} at the market?")
    dialog.get_by_role("button", name="Close", exact=True).click()
    expect(position).to_have_count(0)


def test_a_replacement_that_is_refused_leaves_the_order(page: Page, demo: Demo) -> None:
    open_signed_in(page, demo, "GOOGL")
    page.get_by_label("Limit price", exact=True).fill("90")
    page.get_by_label("Quantity", exact=True).fill("2")
    page.keyboard.press("Enter")
    row = page.get_by_test_id("orders-open").locator("tr", has_text="GOOGL")
    row.get_by_role("button", name="Replace Buy 2 GOOGL").click()
    row.get_by_label("Quantity").fill("0")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Quantity: Enter a number above zero.")).to_be_visible()
    expect(row.get_by_label("Quantity")).to_have_attribute("aria-invalid", "true")
    expect(row.get_by_label("Limit price")).to_have_attribute("aria-invalid", "false")
    row.get_by_label("Quantity").fill("99999999")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Not replaced: insufficient buying power")).to_be_visible()
    expect(row).to_contain_text("90.00")
    row.get_by_role("button", name="Cancel Buy 2 GOOGL").click()
    expect(row).to_have_count(0)


def test_a_price_of_the_book_goes_into_the_ticket(page: Page, demo: Demo) -> None:
    open_signed_in(page, demo, "NVDA")
    price = page.get_by_label("Limit price", exact=True)
    page.get_by_label("Order type").select_option("market")
    best = amount(levels(page, "bids").first.locator(".price").text_content())
    levels(page, "bids").nth(2).click()
    expect(page.get_by_label("Order type")).to_have_value("limit")
    expect(price).to_have_value(A_PRICE)
    assert abs(Decimal(price.input_value()) - best) < best / 20
    price.fill("")
    page.get_by_role("heading", name="NVDA").click()
    page.keyboard.press("p")
    ladder = page.get_by_role("grid", name="Order book")
    expect(ladder).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(price).to_have_value(A_PRICE)
    assert abs(Decimal(price.input_value()) - best) < best / 20


def test_own_orders_are_marked_at_their_level(page: Page, demo: Demo) -> None:
    open_signed_in(page, demo, "META")
    below = amount(levels(page, "bids").nth(5).locator(".price").text_content())
    page.get_by_label("Limit price", exact=True).fill(str(below))
    page.get_by_label("Quantity", exact=True).fill("1")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("bids").get_by_text("your orders: 1")).to_have_count(1)
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="META").click()
    page.keyboard.press("Shift+X")
    page.get_by_role("dialog").get_by_role("button", name="Cancel all").click()
    expect(page.get_by_text("No open orders.")).to_be_visible()
    expect(page.get_by_test_id("bids").get_by_text("your orders: 1")).to_have_count(0)


def test_the_chart_moves_and_is_read_by_keyboard(page: Page) -> None:
    open_market(page)
    chart = page.get_by_test_id("chart")
    expect(chart).to_have_attribute("data-ready", "true")
    before = page.get_by_test_id("candle-volume").text_content()
    page.wait_for_function(
        "old => document.querySelector('[data-testid=candle-volume]')?.textContent !== old",
        arg=before,
    )
    for key, pressed in (("2", "five minutes"), ("5", "one day"), ("1", "one minute")):
        page.keyboard.press(key)
        expect(page.get_by_role("button", name=pressed)).to_have_attribute("aria-pressed", "true")
        expect(chart).to_have_attribute("data-ready", "true")
    page.keyboard.press("c")
    page.keyboard.press("End")
    expect(page.get_by_text(re.compile(r": open .*, high .*, volume "))).to_have_count(1)
    expect(page.get_by_role("link", name="Charts by TradingView")).to_be_visible()


def test_the_shortcuts_are_listed_and_can_be_turned_off(page: Page, demo: Demo) -> None:
    open_signed_in(page, demo)
    page.keyboard.press("s")
    expect(page.get_by_label("Quantity", exact=True)).to_be_focused()
    expect(page.get_by_role("button", name=f"Sell {SYMBOL}")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)  # it was typed into a field
    page.get_by_role("heading", name=SYMBOL).click()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    dialog.get_by_label("Single keys work").uncheck()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name=SYMBOL).click()
    page.keyboard.press("b")
    expect(page.get_by_role("button", name=f"Sell {SYMBOL}")).to_be_visible()


def test_a_refusal_is_shown_in_the_words_of_the_venue(page: Page, demo: Demo) -> None:
    open_market(page, "MSFT")
    sign_in(page, demo)
    page.get_by_label("Limit price", exact=True).fill("400")
    for typed, reason in (
        ("", "Enter a number above zero."),
        ("1e9", "Use digits only"),
        ("0.0000000001", "Use at most 9 decimals."),
    ):
        page.get_by_label("Quantity", exact=True).fill(typed)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text(f"Quantity: {reason}")
        expect(page.get_by_label("Quantity", exact=True)).to_be_focused()
    page.get_by_label("Quantity", exact=True).fill("1000000")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("said")).to_contain_text("Refused: insufficient buying power")


def test_a_session_that_ended_is_said_with_the_way_back(page: Page, demo: Demo) -> None:
    open_signed_in(page, demo, "NFLX")
    page.get_by_label("Limit price", exact=True).fill("90")
    page.get_by_label("Quantity", exact=True).fill("1")
    page.context.clear_cookies(name="madang_session")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("session-over")).to_contain_text("Your session is over.")
    expect(page.get_by_text("unauthorized")).to_have_count(0)
    page.get_by_role("link", name="Sign in again").click()
    expect(page).to_have_url(re.compile(r"/signin\?next=%2Ftrade%2FNFLX$"))


def test_a_fraction_of_a_share_keeps_the_book_in_its_columns(page: Page, demo: Demo) -> None:
    open_signed_in(page, demo, "AMZN")
    below = amount(levels(page, "bids").nth(5).locator(".price").text_content())
    page.get_by_label("Limit price", exact=True).fill(str(below))
    page.get_by_label("Quantity", exact=True).fill("0.927761373")
    page.keyboard.press("Enter")
    # What a person ordered is exact, what many added to a level is short.
    expect(page.get_by_test_id("orders-open").locator("tr").first).to_contain_text("0.927761373")
    level = page.get_by_test_id("bids").locator(".line", has_text="your orders: 0.927761373")
    expect(level.locator("span").nth(1)).to_have_attribute("title", re.compile(r"\.927761373$"))
    shown = level.locator("span").nth(1).text_content() or ""
    assert len(shown.replace(",", "").partition(".")[2]) <= 4
    page.get_by_role("button", name="Cancel Buy 0.927761373 AMZN").click()


def test_orders_out_of_sight_are_named_at_the_edge(page: Page, demo: Demo) -> None:
    open_signed_in(page, demo, "META")
    expect(page.get_by_test_id("chart")).to_have_attribute("data-ready", "true")
    page.get_by_label("Limit price", exact=True).fill("100")
    page.get_by_label("Quantity", exact=True).fill("2")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("beyond-below")).to_contain_text("Buy 2 100.00")
    page.get_by_role("button", name="Cancel Buy 2 META").click()
    expect(page.get_by_test_id("beyond-below")).to_have_count(0)


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


@pytest.mark.parametrize("width", [360, 700, 1200, 1440, 2560])
def test_nothing_scrolls_sideways(page: Page, demo: Demo, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    open_signed_in(page, demo)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for panel in ("Chart", "Order book", "New order", "Time and sales", "Depth", "Balance"):
        box = page.get_by_role("region", name=panel, exact=True).first.bounding_box()
        assert box, panel
        assert box["x"] >= 0, panel
        assert box["x"] + box["width"] <= width, panel


def test_the_trading_page_alone_leads_to_a_symbol(page: Page) -> None:
    page.goto("/trade")
    page.wait_for_url("**/trade/*")
    expect(page.get_by_test_id("trades").locator("tr").first).to_be_visible()
    page.goto("/trade/MSFT")
    expect(page.get_by_role("heading", name="MSFT")).to_be_visible()
    page.goto("/trade")
    page.wait_for_url("**/trade/MSFT")


def test_a_symbol_that_does_not_exist_is_said_to(page: Page) -> None:
    page.goto("/trade/NOSUCH")
    expect(page.get_by_role("alert")).to_have_text("There is no symbol NOSUCH in this market.")


def test_a_phone_shows_every_number_of_an_order(page: Page, demo: Demo) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    open_signed_in(page, demo, "GOOGL")
    page.get_by_label("Limit price", exact=True).fill("91.25")
    page.get_by_label("Quantity", exact=True).fill("0.123456789")
    page.keyboard.press("Enter")
    row = page.get_by_test_id("orders-open").locator("tr", has_text="91.25")
    for cell in (row.locator("td", has_text=text) for text in ("91.25", "0.123456789")):
        box = cell.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    row.get_by_role("button", name="Cancel Buy").click()
    expect(row).to_have_count(0)
