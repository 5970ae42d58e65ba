"""The operator's commands on a running venue, as an operator types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from madang.bus import Bus
from madang.cli.session import with_bus
from madang.core.ids import new_request_id
from madang.exchange.gateway import OrderGateway
from madang.wire.codes import PRICE_SCALE, Reason
from madang.wire.commands import InstrumentTerms, encode_set_instrument
from madang.wire.events import Result
from tests.support.running import wait_for
from tests.support.venue_fixture import Person, Venue, running_venue

REVOKED_LIMIT_S = 5.0


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    """Return one venue for the tests of this file."""
    with running_venue(tmp_path_factory.mktemp("operator"), "maker") as running:
        yield running


def last_word(text: str, line: str) -> str:
    """Return the last word of the line that begins with `line`."""
    return next(row.split()[-1] for row in text.splitlines() if row.startswith(line))


def create(venue: Venue, name: str, *flags: str) -> None:
    """Create an account and know its key from then on."""
    said = venue.madang("account", "create", name, *flags)
    venue.people[name] = Person(name, last_word(said, "API key"), last_word(said, "secret"))
    wait_for(
        lambda: venue.call(name, "GET", "/v2/account").status == 200, REVOKED_LIMIT_S, "a new key"
    )


def test_an_account_is_created_funded_and_trades(venue: Venue) -> None:
    create(venue, "ann", "--cash", "1000.50")
    assert venue.call("ann", "GET", "/v2/account").json()["cash"] == "1000.5"
    venue.madang("account", "fund", "ann", "--cash", "-0.5", "--shares", "AAPL=2.5")
    account = venue.call("ann", "GET", "/v2/account").json()
    (position,) = venue.call("ann", "GET", "/v2/positions").rows()
    assert (account["cash"], position["qty"]) == ("1000", "2.5")
    assert "ann" in venue.madang("account", "list")


def test_a_new_key_works_and_a_revoked_one_stops(venue: Venue) -> None:
    create(venue, "bob")
    said = venue.madang("account", "keys", "bob", "--new")
    second = Person("bob", last_word(said, "API key"), last_word(said, "secret"))
    venue.people["bob-2"] = second
    assert second.key_id in venue.madang("account", "keys", "bob")
    venue.madang("account", "keys", "bob", "--revoke", second.key_id)
    for _ in range(8):  # connections of their own reach both workers
        wait_for(
            lambda: venue.call("bob-2", "GET", "/v2/account").status == 401,
            REVOKED_LIMIT_S,
            "the revoked key to be refused",
        )
    assert venue.call("bob", "GET", "/v2/account").status == 200


def test_a_password_signs_in_and_a_disabled_account_does_not(venue: Venue) -> None:
    create(venue, "eve", "--cash", "500")
    venue.madang("account", "password", "eve", typed="correct horse")
    sign_in = {"name": "eve", "password": "correct horse"}
    wait_for(
        lambda: venue.call(None, "POST", "/web/session", sign_in).status == 204,
        REVOKED_LIMIT_S,
        "the password to sign in",
    )
    order = venue.order(
        "eve", symbol="MSFT", qty="1", side="buy", type="limit", time_in_force="gtc",
        limit_price="10.00",
    )  # fmt: skip
    venue.madang("account", "disable", "eve")
    wait_for(
        lambda: venue.call(None, "POST", "/web/session", sign_in).status in (401, 403),
        REVOKED_LIMIT_S,
        "the sign-in to be refused",
    )
    venue.madang("account", "enable", "eve")
    wait_for(
        lambda: venue.call("eve", "GET", "/v2/account").status == 200,
        REVOKED_LIMIT_S,
        "the key to work again",
    )
    assert venue.call("eve", "GET", f"/v2/orders/{order['id']}").json()["status"] == "canceled"


def test_a_halt_queues_orders_and_resuming_releases_them(venue: Venue) -> None:
    venue.madang("venue", "halt", "MSFT")
    order = venue.order(
        "maker", symbol="MSFT", qty="1", side="buy", type="limit", time_in_force="gtc",
        limit_price="12.00",
    )  # fmt: skip
    assert order["status"] == "accepted"
    venue.madang("venue", "resume", "MSFT")
    assert venue.call("maker", "GET", f"/v2/orders/{order['id']}").json()["status"] == "new"
    venue.madang("venue", "close")
    assert venue.call("maker", "GET", "/v2/clock").json()["is_open"] is False
    venue.madang("venue", "open")


def test_a_new_instrument_trades_at_once(venue: Venue) -> None:
    venue.madang("venue", "instrument", "NEWB", "--name", "New", "--reference-price", "5")
    wait_for(
        lambda: venue.call("maker", "GET", "/v2/assets/NEWB").status == 200,
        REVOKED_LIMIT_S,
        "the new instrument",
    )
    order = venue.order(
        "maker", symbol="NEWB", qty="1", side="buy", type="limit", time_in_force="day",
        limit_price="4.00",
    )  # fmt: skip
    assert order["status"] == "new"


def test_a_symbol_that_a_log_may_hold_harms_no_other(venue: Venue) -> None:
    """The commands refuse such names; the venue's log takes any bytes."""
    feed = venue.pids("feed")

    async def list_it(bus: Bus) -> Result:
        terms = InstrumentTerms(b"lower case", reference_price=5 * PRICE_SCALE)
        return await OrderGateway(bus).submit(encode_set_instrument(new_request_id(), terms))

    assert with_bus(str(venue.state), list_it).reason == Reason.OK
    wait_for(
        lambda: venue.call("maker", "GET", "/v2/assets/lower%20case").status == 200,
        REVOKED_LIMIT_S,
        "the odd instrument",
    )
    order = {"qty": "1", "side": "buy", "type": "limit", "time_in_force": "day"}
    for symbol in ("lower case", "MSFT"):
        venue.order("maker", **order, symbol=symbol, limit_price="49.37")

    def bid() -> float:
        answer = venue.call("maker", "GET", "/v2/stocks/MSFT/quotes/latest").json()
        return float(answer["quote"]["bp"])

    wait_for(lambda: bid() == 49.37, REVOKED_LIMIT_S, "the quote of another symbol")
    assert venue.pids("feed") == feed


def test_a_venue_is_verified_backed_up_and_restored_while_it_runs(
    venue: Venue, tmp_path: Path
) -> None:
    verified = venue.madang("venue", "verify")
    assert "state hash" in verified
    rows = [json.loads(row) for row in venue.madang("venue", "inspect").splitlines()]
    assert {"set_instrument", "create_account"} <= {row.get("kind") for row in rows}
    assert all(person.secret not in str(rows) for person in venue.people.values())
    venue.madang("venue", "backup", str(tmp_path / "copy"))
    other = Venue(tmp_path / "other", 0, {}, venue.process)
    other.folder.mkdir()
    assert "restored and verified" in other.madang("venue", "restore", str(tmp_path / "copy"))
    again = other.madang("venue", "verify")
    assert last_word(again, "state hash") in verified


def test_verifying_nothing_is_no_success(venue: Venue, tmp_path: Path) -> None:
    nowhere = Venue(tmp_path, 0, {}, venue.process)
    with pytest.raises(AssertionError, match="no market here"):
        nowhere.madang("venue", "verify")


@pytest.mark.parametrize(
    "arguments",
    [
        ("account", "fund", "nobody", "--cash", "1"),
        ("account", "fund", "maker", "--shares", "NONE=1"),
        ("account", "fund", "maker", "--cash", "-99999999"),
        ("account", "create", "maker-again", "--cash", "many"),
        ("venue", "halt", "NONE"),
        ("venue", "instrument", "X", "--tick", "0"),
        ("venue", "instrument", "lower case"),
        ("venue", "instrument", "삼성전자"),
        ("venue", "instrument", "X", "--exchange", "XNAS"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(venue: Venue, arguments: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError) as caught:
        venue.madang(*arguments)
    said = str(caught.value)
    assert "madang: " in said
    assert "Traceback" not in said
