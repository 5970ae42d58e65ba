"""Signing up on the real product: open, by invitation, closed; over kills, and within limits."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path

import pytest

from madang.bus import Bus
from madang.cli.session import operator, with_bus
from madang.core.clock import SystemClock
from madang.exchange.api.store_client import StoreClient
from madang.exchange.registration import command_id, invitation_digest, new_invitation
from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue
from tests.support.web import Browser

GOOD = "correct horse battery"
BETTER = "staple of the market"
LIMIT_S = 20.0
HOUR_NS = 3_600 * 10**9
SAME_WITHIN = 0.6
PAIRS_MIN = 5
PAIRS_MAX = 20
"""How much faster than another an answer may be and not tell anything."""


def started(folder: Path, workers: int, **settings: str) -> Iterator[Venue]:
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(f"MADANG_ACCOUNTS_{name.upper()}", value)
            venue = stack.enter_context(running_venue(folder, "ann", workers=workers))
        yield venue


@pytest.fixture(scope="module")
def open_venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    folder = tmp_path_factory.mktemp("open")
    yield from started(folder, 2, registration="open", sign_ups_per_hour="1000", keys_max="3")


@pytest.fixture(scope="module")
def invite_venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    folder = tmp_path_factory.mktemp("invite")
    yield from started(folder, 2, registration="invite", sign_ups_per_hour="1000")


def fresh_name() -> str:
    return f"p{secrets.token_hex(4)}"


def accounts(venue: Venue) -> list[str]:
    return [line.split()[1] for line in venue.madang("account", "list").splitlines()]


def test_whoever_signs_up_is_signed_in_everywhere_and_has_no_money(open_venue: Venue) -> None:
    browser, name = Browser(open_venue), fresh_name()
    answer = browser.sign_up(name, GOOD)
    assert answer.status == 201, answer.body
    cookies = answer.headers["set-cookie"].splitlines()
    assert all("SameSite=Lax" in cookie for cookie in cookies)
    assert "HttpOnly" in next(cookie for cookie in cookies if cookie.startswith("madang_session"))
    for _ in range(6):  # connections of their own reach both workers
        assert browser.name() == name
    account = browser.call("GET", "/v2/account").json()
    assert (account["cash"], account["equity"]) == ("0", "0")
    open_venue.madang("account", "fund", name, "--cash", "250")
    assert browser.call("GET", "/v2/account").json()["cash"] == "250"
    assert Browser(open_venue).sign_in(name, GOOD).status == 204


def test_a_repeated_try_is_the_same_account(open_venue: Venue) -> None:
    name, attempt = fresh_name(), secrets.token_hex(16)
    before = len(accounts(open_venue))
    first, second = Browser(open_venue), Browser(open_venue)
    assert first.sign_up(name, GOOD, attempt=attempt).status == 201
    assert second.sign_up(name, GOOD, attempt=attempt).status == 201
    assert second.name() == name
    assert len(accounts(open_venue)) == before + 1
    # Who knows the try but not the password gets in by neither.
    third = Browser(open_venue)
    assert third.sign_up(name, BETTER, attempt=attempt).status == 401
    assert third.name() is None
    assert Browser(open_venue).sign_in(name, GOOD).status == 204


def test_a_try_that_broke_off_after_the_account_goes_on(open_venue: Venue) -> None:
    name, attempt = fresh_name(), secrets.token_hex(16)

    async def first_step(bus: Bus) -> int:
        request_id = command_id(attempt, "account", name)
        return await operator(bus).create_account(name, request_id)

    with_bus(str(open_venue.state), first_step)
    assert Browser(open_venue).sign_up(name, BETTER).status == 422  # another's try: taken
    assert Browser(open_venue).sign_in(name, BETTER).status == 401
    browser = Browser(open_venue)
    assert browser.sign_up(name, GOOD, attempt=attempt).status == 201
    assert browser.name() == name


def test_a_name_is_had_by_one(open_venue: Venue) -> None:
    name = fresh_name()
    answers: list[int] = []

    def sign_up() -> None:
        answers.append(Browser(open_venue).sign_up(name, GOOD).status)

    threads = [threading.Thread(target=sign_up) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201, 422, 422, 422, 422, 422]
    assert accounts(open_venue).count(name) == 1


@pytest.mark.parametrize(
    ("name", "password", "what"),
    [
        ("Kim", GOOD, "lower-case"),
        ("ab", GOOD, "3 to 32"),
        ("somebody", "short", "at least 10"),
        ("somebody", "password123", "tried first"),
        ("somebody", "i am somebody", "the name"),
        ("admin", GOOD, "not available"),
        ("fees", GOOD, "not available"),
    ],
)
def test_what_cannot_be_is_said(open_venue: Venue, name: str, password: str, what: str) -> None:
    answer = Browser(open_venue).sign_up(name, password)
    assert answer.status == 422
    assert what in answer.json()["message"]
    assert "set-cookie" not in answer.headers
    assert name not in accounts(open_venue) or name == "fees"


def test_another_site_cannot_sign_anybody_up(open_venue: Venue) -> None:
    body = {"name": fresh_name(), "password": GOOD, "request_id": secrets.token_hex(16)}
    for origin in ("https://evil.example", "http://[", "null", ""):
        answer = Browser(open_venue).call("POST", "/web/accounts", body, Origin=origin)
        assert answer.status == 403, origin
    wrong: list[object] = [{**body, "request_id": "x"}, {**body, "password": "x" * 300}, {}, []]
    for bad in wrong:
        assert Browser(open_venue).call("POST", "/web/accounts", bad).status == 422


def test_a_taken_name_takes_as_long_as_a_free_one(open_venue: Venue) -> None:
    taken = fresh_name()
    Browser(open_venue).sign_up(taken, GOOD)

    def seconds(name: str) -> float:
        begun = time.perf_counter()
        Browser(open_venue).sign_up(name, GOOD)
        return time.perf_counter() - begun

    def is_as_long(pairs: list[tuple[float, float]]) -> bool:
        return min(a for a, _ in pairs) > min(b for _, b in pairs) * SAME_WITHIN

    # Other load only makes one of a pair slower: the fastest count.
    pairs = [(seconds(taken), seconds(fresh_name())) for _ in range(PAIRS_MIN)]
    while not is_as_long(pairs) and len(pairs) < PAIRS_MAX:
        pairs.append((seconds(taken), seconds(fresh_name())))
    assert is_as_long(pairs), pairs


def test_keys_made_at_once_on_several_workers_keep_to_the_limit(open_venue: Venue) -> None:
    browser = Browser(open_venue)
    browser.sign_up(fresh_name(), GOOD)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: browser.call("POST", "/web/keys").status, range(16)))
    assert sorted(made) == [201] * 3 + [403] * 13
    for _ in range(6):
        assert len(browser.call("GET", "/web/keys").rows()) == 3


def test_keys_are_made_listed_and_revoked_by_their_owner_alone(open_venue: Venue) -> None:
    browser, other = Browser(open_venue), Browser(open_venue)
    browser.sign_up(fresh_name(), GOOD)
    other.sign_up(fresh_name(), GOOD)
    made = browser.call("POST", "/web/keys")
    assert made.status == 201
    key = made.json()
    headers = {"APCA-API-KEY-ID": key["key_id"], "APCA-API-SECRET-KEY": key["secret"]}
    assert open_venue.call(None, "GET", "/v2/account", **headers).status == 200
    assert browser.call("GET", "/web/keys").rows() == [{"key_id": key["key_id"]}]
    assert other.call("GET", "/web/keys").rows() == []
    # A key makes no keys, another's account revokes none, no token no change.
    assert open_venue.call(None, "POST", "/web/keys", **headers).status == 403
    assert other.call("DELETE", f"/web/keys/{key['key_id']}").status == 404
    assert browser.call("POST", "/web/keys", **{"X-CSRF-Token": "wrong"}).status == 403
    for _ in range(2):
        assert browser.call("POST", "/web/keys").status == 201
    refused = browser.call("POST", "/web/keys")
    assert refused.status == 403
    assert "at most 3" in refused.json()["message"]
    with ThreadPoolExecutor(4) as pool:  # as by two tabs and double clicks
        path = f"/web/keys/{key['key_id']}"
        revoked = list(pool.map(lambda _: browser.call("DELETE", path).status, range(4)))
    assert sorted(revoked) == [204, 404, 404, 404]
    for _ in range(6):
        assert open_venue.call(None, "GET", "/v2/account", **headers).status == 401


def test_a_new_password_ends_every_other_session(open_venue: Venue) -> None:
    here, there, name = Browser(open_venue), Browser(open_venue), fresh_name()
    here.sign_up(name, GOOD)
    assert there.sign_in(name, GOOD).status == 204
    change = {"current": GOOD, "new": BETTER}
    assert (
        here.call("PUT", "/web/password", {"current": "not it at all", "new": BETTER}).status == 401
    )
    weak = here.call("PUT", "/web/password", {"current": GOOD, "new": "1234567890"})
    assert (weak.status, there.name()) == (422, name)
    assert here.call("PUT", "/web/password", change, **{"X-CSRF-Token": ""}).status == 403
    assert here.call("PUT", "/web/password", change).status == 204
    for _ in range(6):
        assert here.name() == name
        assert there.name() is None
    assert Browser(open_venue).sign_in(name, GOOD).status == 401
    assert Browser(open_venue).sign_in(name, BETTER).status == 204


def invite(venue: Venue, *flags: str) -> str:
    said = json.loads(venue.madang("account", "invite", "--json", *flags))
    assert said["path"].endswith(said["invitation"])
    return str(said["invitation"])


def invitations(venue: Venue, count: int) -> list[str]:
    """Return fresh invitations, made without starting a command for each."""
    made = [new_invitation() for _ in range(count)]

    async def add(bus: Bus) -> None:
        store = StoreClient(bus, SystemClock())
        for one in made:
            await store.ask("add_invitation", digest=invitation_digest(one), lasts_ns=HOUR_NS)

    with_bus(str(venue.state), add)
    return made


def test_an_invitation_makes_one_account(invite_venue: Venue) -> None:
    invitation, name = invite(invite_venue), fresh_name()
    for wrong in (None, "", "MI" + "x" * 43):
        assert Browser(invite_venue).sign_up(name, GOOD, invitation=wrong).status == 403
    browser = Browser(invite_venue)
    assert browser.sign_up(name, GOOD, invitation=invitation).status == 201
    assert browser.name() == name
    again = Browser(invite_venue).sign_up(fresh_name(), GOOD, invitation=invitation)
    assert again.status == 403
    assert "invitation" in again.json()["message"]
    listed = json.loads(invite_venue.madang("account", "invitations", "--json"))
    assert [row["state"] for row in listed][:1] == ["used"]
    assert invitation not in json.dumps(listed)


def test_a_taken_name_does_not_cost_the_invitation(invite_venue: Venue) -> None:
    first, second, taken = invite(invite_venue), invite(invite_venue), fresh_name()
    assert Browser(invite_venue).sign_up(taken, GOOD, invitation=first).status == 201
    attempt = secrets.token_hex(16)
    browser = Browser(invite_venue)
    assert browser.sign_up(taken, GOOD, attempt=attempt, invitation=second).status == 422
    name = fresh_name()
    assert browser.sign_up(name, GOOD, attempt=attempt, invitation=second).status == 201
    third = browser.sign_up(fresh_name(), GOOD, attempt=attempt, invitation=second)
    assert third.status == 403  # one try, one invitation, still one account


def test_a_revoked_invitation_makes_none(invite_venue: Venue) -> None:
    invitation = invite(invite_venue, "--hours", "1")
    (newest, *_) = json.loads(invite_venue.madang("account", "invitations", "--json"))
    assert newest["state"] == "unused"
    invite_venue.madang("account", "invitations", "--revoke", newest["id"])
    assert Browser(invite_venue).sign_up(fresh_name(), GOOD, invitation=invitation).status == 403


def signed_up_over_kills(venue: Venue, name: str, attempt: str, invitation: str) -> int:
    """Repeat one try until it is answered, and return its status."""
    limit = time.monotonic() + 3 * LIMIT_S
    while time.monotonic() < limit:
        with contextlib.suppress(OSError, HTTPException):
            answer = Browser(venue).sign_up(name, GOOD, attempt=attempt, invitation=invitation)
            if answer.status != 503:
                return answer.status
    return 0


def test_kills_make_no_second_account_and_lose_no_invitation(invite_venue: Venue) -> None:
    """Everybody repeats their try until it is answered, while everything is killed in turn."""
    before = len(accounts(invite_venue))
    people = [(fresh_name(), secrets.token_hex(16), one) for one in invitations(invite_venue, 24)]
    done: dict[str, int] = {}

    def sign_up_each(some: list[tuple[str, str, str]]) -> None:
        for person in some:
            done[person[0]] = signed_up_over_kills(invite_venue, *person)

    threads = [threading.Thread(target=sign_up_each, args=(people[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for application in ("worker", "venue", "ledger", "worker"):
        invite_venue.kill(application)
    for thread in threads:
        thread.join()
    assert [done.get(name) for name, _, _ in people] == [201] * len(people)
    for name, _, _ in people:
        wait_for(
            lambda name=name: Browser(invite_venue).sign_in(name, GOOD).status == 204,  # type: ignore[misc]
            LIMIT_S,
            "signing in",
        )
    assert len(accounts(invite_venue)) == before + len(people)
    used = Browser(invite_venue).sign_up(fresh_name(), GOOD, invitation=people[0][2])
    assert used.status == 403


def test_limits_hold_and_the_default_is_closed(tmp_path: Path) -> None:
    with running_venue(tmp_path / "closed", "ann", workers=1) as venue:
        assert venue.call(None, "GET", "/web/registration").json()["registration"] == "closed"
        answer = Browser(venue).sign_up(fresh_name(), GOOD)
        assert answer.status == 403
        assert "operator" in answer.json()["message"]
    for venue in started(
        tmp_path / "few", 1, registration="open", sign_ups_per_hour="3", accounts_max="3"
    ):
        answers = [Browser(venue).sign_up(fresh_name(), GOOD) for _ in range(4)]
        assert [answer.status for answer in answers] == [201, 201, 503, 429]
        assert 0 < int(answers[3].headers["retry-after"]) <= 3_600
