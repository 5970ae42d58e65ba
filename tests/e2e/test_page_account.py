"""The front page, signing up and the account in a real browser against the real product."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.alpaca import TradingClient
from tests.support.browser import needs_chromium, opened_page, sign_in
from tests.support.demo import Demo
from tests.support.running import run_madang

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
GOOD = "correct horse battery"
BETTER = "staple of the market"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PHONE = {"width": 360, "height": 740}
WIDTHS = (360, 768, 1440, 2560)

Scheme = Literal["light", "dark"]

pytestmark = needs_chromium


def rows(page: Page) -> Locator:
    return page.get_by_test_id("market").locator("tbody tr")


def symbols(page: Page) -> list[str]:
    found: list[str] = rows(page).evaluate_all("rows => rows.map(row => row.dataset.symbol)")
    return found


def sign_up(page: Page, name: str) -> None:
    page.goto("/signup")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(GOOD)
    page.get_by_role("button", name="Open an account").click()
    expect(page.get_by_role("heading", name=f"Account of {name}")).to_be_visible()


def money(page: Page, what: str) -> Decimal:
    text = page.get_by_test_id(what).text_content()
    assert text is not None
    return Decimal(text.strip().lstrip("$").replace(",", ""))


def test_the_overview_lists_the_market_moves_and_leads_to_it(page: Page) -> None:
    page.goto("/")
    expect(rows(page)).to_have_count(8)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    page.wait_for_function(
        """() => {
            const text = () => document.querySelector('[data-testid=market] tbody').innerText;
            window.first ??= text();
            return text() !== window.first;
        }"""
    )
    expect(rows(page).first.get_by_role("img")).to_be_visible()  # the line of the day
    page.get_by_role("link", name="AAPL Apple").click()
    expect(page).to_have_url(re.compile("/trade/AAPL$"))
    page.go_back()
    expect(page.get_by_role("heading", name="Market overview")).to_be_focused()


def test_the_overview_is_sorted_by_a_click_and_walked_by_keys(page: Page) -> None:
    page.goto("/")
    expect(rows(page)).to_have_count(8)
    assert symbols(page) == sorted(symbols(page))
    header = page.get_by_role("columnheader", name="Symbol")
    header.get_by_role("button").press("Enter")
    expect(header).to_have_attribute("aria-sort", "descending")
    assert symbols(page) == sorted(symbols(page), reverse=True)
    page.get_by_role("link", name="TSLA Tesla").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="NVDA NVIDIA")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/trade/NVDA$"))


def test_a_slash_searches_from_anywhere(page: Page) -> None:
    page.goto("/")
    expect(rows(page)).to_have_count(8)
    page.keyboard.press("/")
    field = page.get_by_role("combobox", name="Search symbols")
    expect(field).to_be_focused()
    page.keyboard.type("micro")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/trade/MSFT$"))
    page.keyboard.press("/")
    page.keyboard.type("nothing like it")
    expect(page.get_by_text("No symbol like")).to_be_visible()
    page.keyboard.press("Escape")
    expect(field).not_to_be_focused()


def test_the_overview_says_when_it_is_cut_off_and_comes_back(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    page.context.set_offline(True)
    expect(page.get_by_test_id("stale")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    expect(page.get_by_test_id("stale")).to_have_count(0)


def test_a_visitor_is_asked_for_no_session_and_told_of_no_page(page: Page) -> None:
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto("/")
    expect(rows(page)).to_have_count(8)
    assert errors == []
    for path in ("/nope", "/account/nope", "/trade/%E0%A4%A"):
        answer = page.goto(path)
        assert answer is not None
        expect(page.get_by_role("heading", name="There is no such page.")).to_be_visible()


def test_while_the_venue_is_away_nothing_is_said_to_be_none(page: Page, demo: Demo) -> None:
    sign_in(page, demo.address, demo.name, demo.password)
    page.goto("/")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    away = page.get_by_test_id("connection")
    run_madang(demo.state_dir, "stop", "venue")
    try:
        expect(away).to_have_text("The venue is away")
        expect(page.get_by_test_id("stale")).to_contain_text("the last ones heard")
        for path in ("/", "/account", "/trade/AAPL"):
            page.goto(path)
            expect(away).to_have_text("The venue is away")
            pending = page.get_by_test_id("pending").first
            expect(pending).to_have_text(
                "This cannot be loaded right now. It is tried again by itself."
            )
            for untrue in ("Nothing has", "You hold nothing", "No open orders", "No trades yet"):
                expect(page.get_by_text(untrue)).to_have_count(0)
            expect(page.get_by_text("venue.committed")).to_have_count(0)
    finally:
        run_madang(demo.state_dir, "start", "venue")
    expect(away).to_have_attribute("data-state", "live")
    expect(page.get_by_test_id("pending")).to_have_count(0)


def test_from_signing_up_to_a_key_that_trades(page: Page, demo: Demo) -> None:
    sign_up(page, "kim")
    expect(page.get_by_test_id("no-money")).to_contain_text("madang account fund kim")
    run_madang(demo.state_dir, "account", "fund", "kim", "--cash", "5000")
    # By itself: nothing is pressed and nothing loaded anew.
    expect(page.get_by_test_id("cash")).to_have_text("$5,000.00")
    expect(page.get_by_test_id("no-money")).to_have_count(0)

    page.get_by_role("link", name="API keys").click()
    expect(page.get_by_text("There is no key yet.")).to_be_visible()
    page.get_by_role("button", name="New key").click()
    key_id, secret = page.get_by_test_id("new-key").locator("code").all_text_contents()
    client = TradingClient(key_id, secret, url_override=demo.address)
    account = client.get_account()
    assert account.cash == "5000"  # type: ignore[union-attr]
    page.reload()
    expect(page.get_by_test_id("keys").locator("li")).to_have_count(1)
    expect(page.get_by_text(secret)).to_have_count(0)  # told once

    page.get_by_role("link", name="Activity").click()
    expect(page.get_by_test_id("activities").locator("tr")).to_have_count(1)
    expect(page.get_by_test_id("activities")).to_contain_text("Deposit")
    page.get_by_role("button", name="Fills").click()
    expect(page.get_by_text("Nothing has happened yet.")).to_be_visible()

    page.get_by_role("link", name="API keys").click()
    page.get_by_role("button", name=f"Revoke {key_id}").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("There is no key yet.")).to_be_visible()
    with pytest.raises(Exception, match="unauthorized"):
        client.get_account()


def test_a_new_password_signs_out_elsewhere(page: Page, browser: Browser, demo: Demo) -> None:
    sign_up(page, "lee")
    with opened_page(browser, demo.address) as other:
        sign_in(other, demo.address, "lee", GOOD)
        other.goto("/account")
        expect(other.get_by_role("heading", name="Account of lee")).to_be_visible()
        page.get_by_role("link", name="Settings").click()
        page.get_by_label("Current password").fill("not it at all")
        page.get_by_label("New password").fill(BETTER)
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_text("The current password is not right.")).to_be_visible()
        page.get_by_label("Current password").fill(GOOD)
        page.get_by_label("New password").fill("1234567890")
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_text("tried first")).to_be_visible()
        page.get_by_label("Current password").fill(GOOD)
        page.get_by_label("New password").fill(BETTER)
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_test_id("password-said")).to_contain_text("is changed")
        # The other page finds out by itself; this one stays.
        expect(other.get_by_text("Sign in to see your account.")).to_be_visible()
        page.get_by_role("link", name="Overview").click()
        expect(page.get_by_test_id("cash")).to_have_text("$0.00")


def test_a_taken_name_and_a_weak_password_are_said(page: Page, demo: Demo) -> None:
    page.goto("/signup")
    page.get_by_label("Name", exact=True).fill(demo.name.upper())
    expect(page.get_by_label("Name", exact=True)).to_have_value(demo.name)
    page.get_by_label("Password", exact=True).fill(GOOD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not available")
    page.get_by_label("Name", exact=True).fill("park")
    page.get_by_label("Password", exact=True).fill("password123")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("tried first")


def test_the_account_shows_what_was_bought(page: Page, demo: Demo) -> None:
    client = TradingClient(demo.key_id, demo.secret, url_override=demo.address)
    bought = {"symbol": "AAPL", "qty": "4", "side": "buy", "type": "market", "time_in_force": "day"}
    client.post("/orders", bought)
    sign_in(page, demo.address, demo.name, demo.password)
    page.goto("/account")
    position = page.get_by_test_id("positions").locator("tr", has_text="AAPL")
    expect(position.locator("td").nth(1)).to_have_text("4")
    expect(page.get_by_test_id("curve-worth")).to_contain_text("$")
    assert money(page, "equity") > money(page, "cash") > 0
    page.get_by_role("button", name="one week").click()
    expect(page.get_by_role("button", name="one week")).to_have_attribute("aria-pressed", "true")
    page.goto("/account/settings")
    suspend = page.get_by_label("Suspend trading", exact=True)
    suspend.check()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.reload()
    expect(suspend).to_be_checked()
    with pytest.raises(Exception, match="rejected by user request"):
        client.post("/orders", bought)
    suspend.uncheck()
    expect(page.get_by_text("Saved.")).to_be_visible()


def test_signing_in_leads_back_and_never_away(page: Page, demo: Demo) -> None:
    for given, reached in (("/account/keys", "/account/keys"), ("//evil.example/", "/account")):
        page.goto(f"/signin?next={given}")
        page.get_by_label("Name", exact=True).fill(demo.name)
        page.get_by_label("Password", exact=True).fill(demo.password)
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{demo.address}{reached}")
        page.get_by_test_id("account-menu").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_test_id("account-menu")).to_have_attribute("data-signed-in", "no")


def test_a_theme_is_there_from_the_first_paint_and_stays(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.goto("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_test_id("account-menu").click()
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(ground)
    assert dark != light
    # Before any module of the page has run.
    page.route("**/assets/*.js", lambda route: route.abort())
    page.reload(wait_until="domcontentloaded")
    assert page.evaluate(ground) == dark
    page.unroute("**/assets/*.js")
    page.reload()
    page.get_by_role("button", name=re.compile("^Appearance: Dark")).click()
    assert page.evaluate(ground) == light  # as the system has it


def test_korean_is_whole_and_remembered(page: Page, demo: Demo) -> None:
    sign_in(page, demo.address, demo.name, demo.password)
    page.goto("/")
    page.get_by_role("button", name="한국어").first.click()
    expect(page.get_by_role("heading", name="시장 한눈에 보기")).to_be_visible()
    for path in ("/account", "/account/activity", "/account/keys", "/account/settings"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_contain_text("님의 계좌")
        said = re.sub("PK[0-9A-F]{20}", "", page.locator("main").inner_text())
        english = set(re.findall(r"[A-Za-z]{2,}", said))
        known = {"API", "Alpaca", "ID", "PTP", "English", demo.name}
        assert {name for name in english if not re.fullmatch("[A-Z]{4,5}", name)} <= known


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_scrolls_sideways(page: Page, demo: Demo, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page, demo.address, demo.name, demo.password)
    for path in ("/", "/account", "/account/activity", "/account/keys", "/account/settings"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        if path != "/":  # which is never idle
            page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def violations(page: Page) -> list[str]:
    page.evaluate(AXE.read_text())
    found = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "language"), [("light", "en"), ("dark", "ko")])
def test_every_page_passes_axe(page: Page, demo: Demo, scheme: Scheme, language: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.add_init_script(f"localStorage.setItem('madang.language', '{language}')")
    for path in ("/", "/signin", "/signup"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert violations(page) == [], path
    sign_in(page, demo.address, demo.name, demo.password)
    for path in ("/", "/account", "/account/activity", "/account/keys", "/account/settings"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_function("document.querySelector('main .panel') !== null")
        assert violations(page) == [], path
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    page.goto("/")
    page.get_by_test_id("account-menu").click()
    assert violations(page) == []
