"""An unknown path: a page for a person at a browser, JSON for everybody else."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from madang.edge import ApiError, EdgeSettings, Headers, Pages, Request, Response
from madang.edge.dispatch import Dispatcher
from madang.edge.pages import prefers_html

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
UNKNOWN = ("/nope", "/trade/", "/trade/%E0%A4%A", "/assets/app-00000000.js/")


@pytest.fixture
def dispatcher(tmp_path: Path) -> Dispatcher:
    (tmp_path / "index.html").write_text("<!doctype html>the application")
    pages = Pages(tmp_path, ("/", "/trade/{symbol}"))
    return Dispatcher((), (), None, pages, EdgeSettings())


def call(dispatcher: Dispatcher, path: str, accept: str | None, method: str = "GET") -> Response:
    raw = {} if accept is None else {b"accept": accept.encode()}
    request = Request(method, path, b"", Headers(raw))
    return cast(Response, dispatcher.call(request))


@pytest.mark.parametrize("path", UNKNOWN)
def test_a_browser_gets_the_application_which_says_so(dispatcher: Dispatcher, path: str) -> None:
    response = call(dispatcher, path, BROWSER)
    assert (response.status, response.content_type) == (404, "text/html; charset=utf-8")
    assert b"the application" in response.body
    names = [name for name, _ in response.headers]
    assert "content-security-policy" in names
    assert "etag" not in names  # or the next visit would be told that nothing has changed


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_a_program_gets_json(dispatcher: Dispatcher, path: str, accept: str | None) -> None:
    with pytest.raises(ApiError) as raised:
        call(dispatcher, path, accept)
    assert raised.value.status == (400 if "%" in path else 404)


def test_only_a_navigation_gets_it(dispatcher: Dispatcher) -> None:
    with pytest.raises(ApiError) as raised:
        call(dispatcher, "/nope", BROWSER, "POST")
    assert raised.value.status == 404
    assert call(dispatcher, "/trade/AAPL", BROWSER).status == 200


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0", False),
        ("text/html;q=high", False),
        ("TEXT/HTML ; q=0.5", True),
        ("*/*", False),
        ("", False),
        (None, False),
    ],
)
def test_html_is_preferred_only_where_it_is_named(accept: str | None, wanted: bool) -> None:
    assert prefers_html(accept) is wanted
