"""What names and passwords must be, and invitations: held by one, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.exchange import passwords
from madang.exchange.ledger import store_invitations
from madang.exchange.ledger.store import ChoiceRefused
from madang.exchange.ledger.store_invitations import Invitations
from madang.exchange.ledger.store_server import MIGRATIONS
from madang.exchange.registration import (
    command_id,
    invitation_digest,
    is_name,
    is_reserved,
    neighbourhood,
    new_invitation,
)
from madang.store import database, migrations

DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize("name", ["kim", "a-b_c.d", "123", "x" * 32, "j.r.r.tolkien"])
def test_good_names(name: str) -> None:
    assert is_name(name)
    assert not is_reserved(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "Kim",
        "kim ",
        ".kim",
        "kim.",
        "a..b",
        "a-_b",
        "김민수",
        "x" * 33,
        "kim\n",
        "a/b",
        "\N{CYRILLIC SMALL LETTER A}12",
    ],
)
def test_bad_names(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("name", ["admin", "ad-min", "madang7", "fees", "s.u.p.p.o.r.t"])
def test_names_that_would_pass_for_the_operator_are_kept_back(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize(
    ("password", "what"),
    [
        ("too short", "at least"),
        ("x" * 129, "at most"),
        ("Password123", "tried first"),
        ("1234567890", "tried first"),
        ("zyxwvutsrqpo", "tried first"),
        ("ababababab", "tried first"),
        ("my name is KIM!", "the name"),
    ],
)
def test_weak_passwords_are_told_why(password: str, what: str) -> None:
    weakness = passwords.weakness(password, "kim")
    assert weakness is not None
    assert what in weakness


@pytest.mark.parametrize(
    "password", ["correct horse battery", "마당에서장보는날참좋다", "kJ8#mQp2!x"]
)
def test_good_passwords_have_nothing_wrong(password: str) -> None:
    assert passwords.weakness(password, "kim") is None


@given(st.text(max_size=200), st.text(max_size=40))
def test_any_text_is_judged(password: str, name: str) -> None:
    weakness = passwords.weakness(password, name)
    if weakness is None:
        assert passwords.LENGTH_MIN <= len(password) <= passwords.LENGTH_MAX


def test_a_household_counts_as_one_address() -> None:
    assert neighbourhood("10.0.0.7") == "10.0.0.7"
    assert neighbourhood("2001:db8:1:2::7") == neighbourhood("2001:db8:1:2:ffff::1")
    assert neighbourhood("2001:db8:1:2::7") != neighbourhood("2001:db8:1:3::7")
    assert neighbourhood("::ffff:10.0.0.7") == "10.0.0.7"
    assert neighbourhood("not an address") == "not an address"


def test_steps_of_a_sign_up_have_ids_of_their_own() -> None:
    ids = {
        command_id(attempt, step, name)
        for attempt in ("0" * 32, "1" * 32)
        for step in ("account", "password")
        for name in ("kim", "lee")
    }
    assert len(ids) == 8
    assert all(len(one) == 16 for one in ids)
    assert command_id("0" * 32, "account", "kim") in ids


def test_invitations_are_long_and_kept_as_digests() -> None:
    first, second = new_invitation(), new_invitation()
    assert first != second
    assert len(first) >= 43
    assert first not in invitation_digest(first)
    assert invitation_digest(f" {first}\n") == invitation_digest(first)


def with_invitations(folder: Path, work: Callable[[Invitations], Awaitable[None]]) -> None:
    async def main() -> None:
        url = database.sqlite_url(folder / "store.db")
        sql = database.open_database(url, rebuildable=False)
        await migrations.upgrade(sql, MIGRATIONS)
        try:
            await work(Invitations(sql))
        finally:
            await sql.dispose()

    asyncio.run(main())


def test_an_invitation_is_held_by_the_first_and_only_until_its_end(tmp_path: Path) -> None:
    async def work(table: Invitations) -> None:
        await table.add("d1", until_ns=DAY_NS, now_ns=0)
        assert await table.claim("d1", "kim", DAY_NS - 1)
        assert await table.claim("d1", "kim", 2 * DAY_NS)  # asking again keeps it
        assert not await table.claim("d1", "lee", 1)
        await table.release("d1", "lee")  # not lee's to give
        assert not await table.claim("d1", "lee", 1)
        await table.release("d1", "kim")
        assert not await table.claim("d1", "lee", DAY_NS)
        assert await table.claim("d1", "lee", DAY_NS - 1)
        assert not await table.claim("unknown", "kim", 0)

    with_invitations(tmp_path, work)


def test_many_who_claim_at_once_are_one_holder(tmp_path: Path) -> None:
    async def work(table: Invitations) -> None:
        await table.add("d1", until_ns=DAY_NS, now_ns=0)
        claims = await asyncio.gather(*(table.claim("d1", f"person-{i}", 1) for i in range(20)))
        assert claims.count(True) == 1

    with_invitations(tmp_path, work)


def test_invitations_are_kept_over_a_restart_listed_and_revoked(tmp_path: Path) -> None:
    async def make(table: Invitations) -> None:
        await table.add("aaaa", until_ns=DAY_NS, now_ns=1)
        await table.add("bbbb", until_ns=DAY_NS, now_ns=2)
        assert await table.claim("bbbb", "kim", 3)

    async def look(table: Invitations) -> None:
        rows = await table.all()
        assert [(row["digest"], row["claimant"]) for row in rows] == [
            ("bbbb", "kim"),
            ("aaaa", None),
        ]
        assert await table.remove("bb") == 0  # used: nothing to take back
        assert await table.remove("aa") == 1
        assert not await table.claim("aaaa", "lee", 3)

    with_invitations(tmp_path, make)
    with_invitations(tmp_path, look)


def test_there_is_a_limit_and_old_ones_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_invitations, "INVITATIONS_MAX", 2)

    async def work(table: Invitations) -> None:
        for name in ("d1", "d2"):
            await table.add(name, until_ns=DAY_NS, now_ns=0)
        with pytest.raises(ChoiceRefused, match="at most 2"):
            await table.add("d3", until_ns=DAY_NS, now_ns=0)
        await table.add("d3", until_ns=200 * DAY_NS, now_ns=100 * DAY_NS)
        assert [row["digest"] for row in await table.all()] == ["d3"]

    with_invitations(tmp_path, work)
