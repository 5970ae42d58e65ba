"""Cookies, sign-in limits, and the market clock."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.core.errors import SettingsError
from madang.exchange.api.clock import MarketHours, changes
from madang.exchange.api.cookies import (
    SessionClaim,
    csrf_token,
    load_secret,
    password_tag,
    read_session,
    sign_session,
)
from madang.exchange.api.login import AttemptLimiter, LoginSettings
from madang.exchange.venue.schedule import OpenHours

SECRET = bytes(range(32))
SECOND_NS = 10**9


@given(st.integers(0, 2**32), st.integers(1, 2**40))
def test_a_session_says_what_was_signed_until_it_is_over(account: int, expires_s: int) -> None:
    claim = SessionClaim(account, expires_s, password_tag("argon2 text"))
    cookie = sign_session(SECRET, claim)
    assert read_session(SECRET, cookie, expires_s - 1) == claim
    assert read_session(SECRET, cookie, expires_s) is None
    assert read_session(bytes(32), cookie, 0) is None


def test_no_changed_byte_of_a_session_is_believed() -> None:
    cookie = sign_session(SECRET, SessionClaim(7, 10**10, password_tag("text")))
    for at in range(len(cookie)):
        for other in "0x.":
            changed = cookie[:at] + other + cookie[at + 1 :]
            if changed != cookie:
                assert read_session(SECRET, changed, 0) is None
    for nonsense in ("", ".", "....", "é" * 10, cookie + "0", cookie * 9):
        assert read_session(SECRET, nonsense, 0) is None


def test_another_password_is_another_tag_and_another_session_another_token() -> None:
    assert password_tag("one") != password_tag("two")
    assert csrf_token(SECRET, "one") != csrf_token(SECRET, "two")


def test_all_workers_of_a_state_folder_share_one_secret(tmp_path: Path) -> None:
    secret = load_secret(tmp_path)
    assert load_secret(tmp_path) == secret
    assert len(secret) == 32
    assert os.stat(tmp_path / "session.key").st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["session.key"]


def test_failed_attempts_are_counted_until_the_window_is_over() -> None:
    limiter = AttemptLimiter(LoginSettings(attempts_max=3, window_s=60))
    for _ in range(3):
        assert limiter.wait_s("ann", 0) == 0
        limiter.failed("ann", 0)
    assert limiter.wait_s("ann", 0) == 60
    assert limiter.wait_s("ann", 59 * SECOND_NS + 1) == 1
    assert limiter.wait_s("bob", 0) == 0
    assert limiter.wait_s("ann", 60 * SECOND_NS) == 0
    limiter.failed("ann", 60 * SECOND_NS)
    assert limiter.wait_s("ann", 60 * SECOND_NS) == 0
    limiter.succeeded("ann")


def test_the_limiter_keeps_only_so_many_subjects() -> None:
    limiter = AttemptLimiter(LoginSettings(attempts_max=1, subjects_max=2))
    for subject in ("one", "two", "three"):
        limiter.failed(subject, 0)
    assert limiter.wait_s("one", 0) == 0
    assert limiter.wait_s("three", 0) > 0


WEEKDAYS = MarketHours(
    "UTC", (OpenHours(frozenset(range(5)), datetime.time(9, 30), datetime.time(16)),)
)


@pytest.mark.parametrize(
    ("now", "is_open", "opens", "closes"),
    [
        ("2026-11-20T09:29", False, "2026-11-20T09:30", "2026-11-20T16:00"),
        ("2026-11-20T09:30", True, "2026-11-23T09:30", "2026-11-20T16:00"),
        ("2026-11-20T16:00", False, "2026-11-23T09:30", "2026-11-23T16:00"),
        ("2026-11-22T12:00", False, "2026-11-23T09:30", "2026-11-23T16:00"),
    ],
)
def test_the_clock_knows_the_next_opening_and_closing(
    now: str, is_open: bool, opens: str, closes: str
) -> None:
    def at(text: str) -> datetime.datetime:
        return datetime.datetime.fromisoformat(text + ":00+00:00")

    assert changes(WEEKDAYS, at(now)) == (is_open, at(opens), at(closes))


def test_a_market_without_hours_is_always_open_and_its_days_end_at_midnight() -> None:
    now = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
    midnight = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
    assert changes(MarketHours(), now) == (True, midnight, midnight)


def test_a_damaged_secret_is_named(tmp_path: Path) -> None:
    (tmp_path / "session.key").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"session\.key.*delete the file"):
        load_secret(tmp_path)
