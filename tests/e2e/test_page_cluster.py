"""The page /cluster in a real browser, over reloads of the very workers that serve it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import needs_chromium, opened_page, sign_in
from tests.support.demo import Demo, running_demo
from tests.support.running import run_madang

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PASSWORD = "correct horse battery"
WIDTHS = (360, 768, 1440, 2560)
RELOAD_LIMIT_MS = 60_000

Scheme = Literal["light", "dark"]

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as running:
        for name in ("boss", "second"):
            run_madang(running.state_dir, "account", "create", name, "--role", "admin")
            run_madang(running.state_dir, "account", "password", name, typed=PASSWORD)
        yield running


@pytest.fixture
def visitor(browser: Browser, demo: Demo) -> Iterator[Page]:
    with opened_page(browser, demo.address) as opened:
        yield opened


@pytest.fixture
def page(visitor: Page, demo: Demo) -> Page:
    sign_in(visitor, demo.address, "boss", PASSWORD)
    visitor.goto("/cluster")
    expect(visitor.get_by_test_id("processes")).to_be_visible()
    return visitor


def process(page: Page, name: str) -> Locator:
    return page.locator(f"tr[data-process='{name}']")


def pids(page: Page, application: str) -> set[str]:
    cells = page.locator(
        f"tbody[data-application='{application}'] tr[data-process] td:nth-child(4)"
    )
    return set(cells.all_text_contents())


def confirm(page: Page, opener: str, button: str) -> None:
    page.get_by_role("button", name=opener, exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name=button, exact=True).click()
    expect(dialog).to_have_count(0)


def test_who_is_no_administrator_is_told_so(visitor: Page, demo: Demo) -> None:
    visitor.goto("/cluster")
    refused = visitor.get_by_test_id("for-administrators")
    expect(refused).to_contain_text("for administrators")
    expect(refused.get_by_role("link")).to_have_attribute("href", "/signin?next=/cluster")
    sign_in(visitor, demo.address, demo.name, demo.password)
    visitor.reload()
    expect(refused).to_contain_text("for administrators")
    expect(refused.get_by_role("link")).to_have_count(0)
    expect(visitor.get_by_role("link", name="Cluster")).to_have_count(0)


def test_every_process_is_there_live_and_the_hour_grows(page: Page) -> None:
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    for name in ("venue", "ledger", "feed", "worker-0", "worker-1", "traders"):
        row = process(page, name)
        expect(row.locator("[data-state=ready]")).to_be_visible()
        expect(row).to_contain_text(re.compile(r"\d+ MB"))
    expect(page.get_by_role("img", name=re.compile("^CPU: now"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Connections: now"))).to_be_visible()
    page.get_by_role("button", name="venue", exact=True).click()
    expect(page.get_by_role("img", name=re.compile("^Memory: now .* MB"))).to_be_visible()


def test_a_reload_of_the_workers_is_followed_to_its_end_on_the_open_page(
    page: Page, demo: Demo
) -> None:
    page.evaluate("window.kept = true")
    before = {str(pid) for pid in demo.pids("worker")}
    confirm(page, "Reload worker", "Reload")
    expect(page.get_by_test_id("said")).to_have_text("Reload worker has begun.")
    newest = page.get_by_test_id("audit").locator("tbody tr").first
    expect(newest).to_contain_text("boss")
    expect(newest).to_contain_text("Reload worker")
    expect(newest).to_have_attribute("data-outcome", "done", timeout=RELOAD_LIMIT_MS)
    operation = page.get_by_test_id("operations").locator("li").first
    expect(operation).to_have_attribute("data-state", "done")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    expect(page.get_by_test_id("stale")).to_have_count(0)
    expect(process(page, "worker-0").locator("td").nth(2)).to_have_text("2")
    assert not before & pids(page, "worker")
    assert page.evaluate("window.kept"), "the document was never loaded anew"


def test_scaling_asks_for_a_number_and_shows_what_came(page: Page) -> None:
    page.get_by_role("button", name="Scale worker").click()
    dialog = page.get_by_role("dialog")
    number = dialog.get_by_label("Instances")
    expect(number).to_be_focused()
    expect(number).to_have_value("2")
    number.fill("many")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("from 1 to 256")
    number.fill("3")
    page.keyboard.press("Enter")
    expect(process(page, "worker-2").locator("[data-state=ready]")).to_be_visible()
    page.get_by_role("button", name="Scale worker").click()
    dialog.get_by_label("Instances").fill("2")
    dialog.get_by_role("button", name="Scale", exact=True).click()
    expect(process(page, "worker-2")).to_have_count(0)
    done = page.get_by_test_id("audit").locator("tr[data-outcome=done]", has_text="worker to ")
    expect(done).to_have_count(2)
    expect(page.get_by_role("button", name="Scale venue")).to_have_count(0)


def test_a_dialog_that_is_left_does_nothing(page: Page, demo: Demo) -> None:
    before = demo.pids("venue")
    records = demo.state_dir / "audit.jsonl"
    recorded = records.read_bytes() if records.exists() else b""
    page.get_by_role("button", name="Restart venue").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Restart venue")).to_be_focused()
    page.get_by_role("button", name="Restart venue").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert (records.read_bytes() if records.exists() else b"") == recorded
    assert demo.pids("venue") == before


def test_a_kill_is_seen_with_its_cause_and_an_instance_is_restarted(page: Page, demo: Demo) -> None:
    (feed,) = demo.pids("feed")
    os.kill(feed, signal.SIGKILL)
    causes = page.locator("tbody[data-application=feed]").get_by_test_id("restart-causes")
    expect(causes).to_contain_text(re.compile(r"SIGKILL . 1"))
    page.get_by_role("button", name="feed why it ended before").click()
    expect(page.locator("tr.more")).to_contain_text(f"pid {feed}")
    page.get_by_role("button", name="feed why it ended before").click()
    page.get_by_role("button", name="worker-1 why it ended before").click()
    old = process(page, "worker-1").locator("td").nth(3).text_content() or ""
    confirm(page, "Restart worker-1", "Restart")
    expect(process(page, "worker-1").locator("td").nth(3)).not_to_have_text(old)
    expect(process(page, "worker-1").locator("[data-state=ready]")).to_be_visible()


def test_what_one_does_the_other_sees(page: Page, browser: Browser, demo: Demo) -> None:
    with opened_page(browser, demo.address) as other:
        sign_in(other, demo.address, "second", PASSWORD)
        other.goto("/cluster")
        expect(other.get_by_test_id("processes")).to_be_visible()
        confirm(other, "Restart feed", "Restart")
        newest = page.get_by_test_id("audit").locator("tbody tr").first
        expect(newest).to_contain_text("second")
        expect(newest).to_have_attribute("data-outcome", "done")


def test_output_is_filtered_by_process_and_text_and_can_stand_still(page: Page, demo: Demo) -> None:
    output = page.get_by_test_id("output")
    page.get_by_label("Output of").select_option("madang")
    page.get_by_label("Filter").fill("operation")
    expect(output.locator("p").first).to_contain_text("operation")
    texts = output.locator("p").all_text_contents()
    assert texts
    assert all("operation" in text and " madang " in text for text in texts)
    page.get_by_label("Filter").fill("no such words")
    expect(output).to_contain_text("No line fits.")
    page.get_by_label("Filter").fill("")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_have_attribute("aria-pressed", "true")


def test_a_supervisor_that_is_silent_is_said_and_comes_back(page: Page, demo: Demo) -> None:
    os.kill(demo.process.pid, signal.SIGSTOP)
    try:
        expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "away")
        expect(page.get_by_test_id("stale")).to_be_visible()
    finally:
        os.kill(demo.process.pid, signal.SIGCONT)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    expect(page.get_by_test_id("stale")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["English", "한국어"])
def test_the_page_is_accessible_in_both_lights_and_languages(
    page: Page, scheme: Scheme, language: str
) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    if language != "English":
        page.get_by_role("banner").get_by_role("button", name=language).first.click()
        expect(page.get_by_role("heading", name="클러스터")).to_be_visible()
    page.locator("button.open").first.click()
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        """async (rules) => (await axe.run(document, {runOnly: rules})).violations
            .map(({id, nodes}) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`)""",
        RULES,
    )
    assert found == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Reload feed").click()
    box = page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
