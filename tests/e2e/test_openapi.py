"""schemathesis against /openapi.json of the real product: what is promised is what is answered.

Requests are made from the schema with a fixed seed, and for each operation also from seeded data
that must succeed: an order that exists, a symbol that trades, a person who may sign in.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue
from tests.support.web import Browser

EXAMPLES = 40
SEED = 20261122
KNOWN_LIMIT_S = 5.0
PASSWORD = "correct horse battery staple"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Any]
Seed = Callable[[Venue], dict[str, Any]]


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MADANG_ACCOUNTS_REGISTRATION", "open")
        yield from open_venue(tmp_path_factory)


def open_venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        running.madang("account", "password", running.people["ann"].name, typed=PASSWORD)
        yield running


@pytest.fixture(scope="module")
def schema(venue: Venue) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{venue.url}/openapi.json")


def open_order(venue: Venue) -> dict[str, Any]:
    return venue.order(
        "ann", symbol="AAPL", side="buy", type="limit", time_in_force="day",
        qty="5", limit_price="50", client_order_id=str(uuid.uuid4()),
    )  # fmt: skip


def order_path(venue: Venue) -> dict[str, Any]:
    return {"path_parameters": {"order_id": open_order(venue)["id"]}}


def new_order(_venue: Venue) -> dict[str, Any]:
    return {"body": {
        "symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "gtc",
        "qty": 1, "limit_price": 50.5,
    }}  # fmt: skip


def sign_in(venue: Venue) -> dict[str, Any]:
    return {"body": {"name": venue.people["ann"].name, "password": PASSWORD}}


def nothing(_venue: Venue) -> dict[str, Any]:
    return {}


def traded(venue: Venue) -> None:
    """Make sure that there is a trade, and a quote after it."""
    for name, side in (("bob", "sell"), ("ann", "buy"), ("bob", "sell")):
        venue.order(
            name, symbol="AAPL", side=side, type="limit", time_in_force="gtc", qty="1",
            limit_price="100",
        )  # fmt: skip


def of_market(path: dict[str, str], **query: object) -> Seed:
    """Return the seed of an operation that shows what was traded."""

    def seed(venue: Venue) -> dict[str, Any]:
        traded(venue)
        return {"path_parameters": path, "query": query}

    return seed


STOCK = {"symbol": "AAPL"}
STOCKS = {"symbols": "AAPL,MSFT"}
MARKET: dict[tuple[str, str], Seed] = {
    ("GET", f"/v2/stocks{path}"): of_market(parameters, **query)
    for what in ("bars", "quotes", "trades")
    for frame in [{"timeframe": "1Min"} if what == "bars" else {}]
    for path, parameters, query in (
        (f"/{what}", {}, {**STOCKS, **frame}),
        (f"/{what}/latest", {}, STOCKS),
        (f"/{{symbol}}/{what}", STOCK, frame),
        (f"/{{symbol}}/{what}/latest", STOCK, {}),
        ("/snapshots", {}, STOCKS),
        ("/{symbol}/snapshot", STOCK, {}),
    )
}


def watchlist(venue: Venue) -> str:
    body = {"name": str(uuid.uuid4()), "symbols": ["AAPL"]}
    return str(venue.call("ann", "POST", "/v2/watchlists", body).json()["id"])


def watchlist_path(venue: Venue, **more: str) -> dict[str, Any]:
    return {"path_parameters": {"watchlist_id": watchlist(venue), **more}}


def watchlist_name(venue: Venue) -> dict[str, Any]:
    body = {"name": str(uuid.uuid4()), "symbols": ["AAPL"]}
    name = venue.call("ann", "POST", "/v2/watchlists", body).json()["name"]
    return {"query": {"name": name}}


SYMBOL = {"path_parameters": {"symbol_or_asset_id": "AAPL"}}
CONFIGURATIONS = "/v2/account/configurations"
WATCHLIST = "/v2/watchlists/{watchlist_id}"
BY_NAME = "/v2/watchlists:by_name"
KEYS = "/web/keys"


def key_path(venue: Venue) -> dict[str, Any]:
    made = signed_in(venue).call("POST", KEYS).json()
    known = [{"key_id": made["key_id"]}]
    wait_for(
        lambda: all(found in signed_in(venue).call("GET", KEYS).rows() for found in known),
        KNOWN_LIMIT_S,
        "the new key",
    )
    return {"path_parameters": {"key_id": made["key_id"]}}


def sign_up(_venue: Venue) -> dict[str, Any]:
    return {"body": {
        "name": f"p{uuid.uuid4().hex[:8]}", "password": PASSWORD, "request_id": uuid.uuid4().hex,
    }}  # fmt: skip


def signed_in(venue: Venue) -> Browser:
    browser = Browser(venue)
    assert browser.sign_in(venue.people["ann"].name, PASSWORD).status == 204
    return browser


CLUSTER = "/web/cluster"
SCALE = {"kind": "scale", "name": "worker", "instances": "2"}


def administrator(venue: Venue) -> dict[str, str]:
    """Return the headers of a new administrator's key."""
    name = f"admin-{uuid.uuid4().hex[:6]}"
    said = venue.madang("account", "create", name, "--role", "admin").split()
    headers = {"APCA-API-KEY-ID": said[said.index("key") + 1], "APCA-API-SECRET-KEY": said[-1]}
    wait_for(
        lambda: venue.call(None, "GET", CLUSTER, **headers).status == 200,
        KNOWN_LIMIT_S,
        "the administrator",
    )
    return headers


def operation_path(venue: Venue) -> dict[str, Any]:
    headers = administrator(venue)
    begun = venue.call(None, "POST", f"{CLUSTER}/operations", SCALE, **headers).json()
    return {"path_parameters": {"id": begun["operation"]}}


BY_COOKIE = ("/web/keys", "/web/keys/{key_id}", "/web/password")
"""What needs a person at a page, not a key."""
SEEDED: dict[tuple[str, str], Seed] = {
    ("POST", "/v2/orders"): new_order,
    ("GET", "/v2/orders"): lambda _: {"query": {"status": "all", "limit": 5, "nested": "True"}},
    ("DELETE", "/v2/orders"): nothing,
    ("GET", "/v2/orders/{order_id}"): order_path,
    ("DELETE", "/v2/orders/{order_id}"): order_path,
    ("PATCH", "/v2/orders/{order_id}"): lambda v: {**order_path(v), "body": {"qty": "4"}},
    ("GET", "/v2/orders:by_client_order_id"): lambda v: {
        "query": {"client_order_id": open_order(v)["client_order_id"]}
    },
    ("GET", "/v2/positions/{symbol_or_asset_id}"): lambda _: SYMBOL,
    ("DELETE", "/v2/positions"): lambda _: {"query": {"cancel_orders": "True"}},
    ("DELETE", "/v2/positions/{symbol_or_asset_id}"): lambda _: {**SYMBOL, "query": {"qty": "1"}},
    ("GET", "/v2/assets/{symbol_or_asset_id}"): lambda _: SYMBOL,
    ("GET", "/v2/account/activities/{activity_type}"): lambda _: {
        "path_parameters": {"activity_type": "CSD"}
    },
    ("GET", "/web/bars"): lambda _: {"query": {"symbol": "AAPL", "timeframe": "1Min"}},
    ("PATCH", CONFIGURATIONS): lambda _: {"body": {"fractional_trading": True}},
    ("POST", "/v2/watchlists"): lambda _: {"body": {"name": "mine", "symbols": ["AAPL"]}},
    ("GET", WATCHLIST): watchlist_path,
    ("PUT", WATCHLIST): lambda v: {**watchlist_path(v), "body": {"symbols": ["MSFT"]}},
    ("POST", WATCHLIST): lambda v: {**watchlist_path(v), "body": {"symbol": "MSFT"}},
    ("DELETE", WATCHLIST): watchlist_path,
    ("DELETE", f"{WATCHLIST}/{{symbol}}"): lambda v: watchlist_path(v, symbol="AAPL"),
    ("GET", BY_NAME): watchlist_name,
    ("PUT", BY_NAME): lambda v: {**watchlist_name(v), "body": {"symbols": ["MSFT"]}},
    ("POST", BY_NAME): lambda v: {**watchlist_name(v), "body": {"symbol": "MSFT"}},
    ("DELETE", BY_NAME): watchlist_name,
    ("POST", "/web/session"): sign_in,
    ("POST", "/web/accounts"): sign_up,
    ("DELETE", "/web/keys/{key_id}"): key_path,
    ("POST", f"{CLUSTER}/operations"): lambda _: {"body": SCALE},
    ("GET", f"{CLUSTER}/operations/{{id}}"): operation_path,
    ("GET", f"{CLUSTER}/processes/{{name}}"): lambda _: {"path_parameters": {"name": "venue"}},
    ("PUT", "/web/password"): lambda _: {"body": {"current": PASSWORD, "new": PASSWORD}},
    **MARKET,
}


def operations(schema: BaseSchema) -> list[Operation]:
    return [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]


def test_every_operation_succeeds_with_seeded_data(venue: Venue, schema: BaseSchema) -> None:
    seen = set()
    admin = administrator(venue)
    for operation in operations(schema):
        key = (operation.method.upper(), operation.path)
        seen.add(key)
        case = operation.Case(**SEEDED.get(key, nothing)(venue))
        headers = venue.people["ann"].headers
        if operation.path in BY_COOKIE:
            headers = signed_in(venue).headers
        elif operation.path.startswith(CLUSTER):
            headers = admin
        response = case.call(headers=headers, timeout=20)
        assert 200 <= response.status_code < 300, (key, response.status_code, response.text)
        case.validate_response(response, checks=CHECKS)
    assert set(SEEDED) <= seen
    assert len(seen) >= 20


def test_no_request_made_from_the_schema_breaks_a_promise(venue: Venue, schema: BaseSchema) -> None:
    statuses: dict[str, set[int]] = {}
    headers = venue.people["bob"].headers
    for operation in operations(schema):

        @hypothesis.seed(SEED)
        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(case=operation.as_strategy())
        def probe(case: AnyCase) -> None:
            response = case.call(headers=headers, timeout=20)
            statuses.setdefault(case.operation.label, set()).add(response.status_code)
            case.validate_response(response, checks=CHECKS)

        probe()
    assert len(statuses) >= 20
    assert all(status != 500 for found in statuses.values() for status in found)


def test_the_document_names_the_role_of_every_operation(schema: BaseSchema) -> None:
    for operation in operations(schema):
        assert operation.definition.raw["x-role"] in {"public", "viewer", "trader", "admin"}
