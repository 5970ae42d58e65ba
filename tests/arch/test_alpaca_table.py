"""docs/alpaca.md, the tests and the installed alpaca-py say the same of every method and field."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator

from pydantic import BaseModel

from tests.arch.test_tidy import ROOT
from tests.support import alpaca
from tests.support.covers import CLIENTS, promises

PAGE = ROOT / "docs" / "alpaca.md"
NAME = re.compile(r"`(\w+)`")
Offer = dict[str, bool]


def methods() -> set[str]:
    """Return every public method of the clients."""
    return {
        f"{client.__name__}.{name}"
        for client in CLIENTS
        for name, _ in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_")
    }


def request_types(offered: Offer) -> set[type[BaseModel]]:
    """Return the requests that offered methods take, and every kind of order."""
    found: set[type[BaseModel]] = set()
    waiting = [kind for name, yes in offered.items() if yes for kind in _parameters(name)]
    while waiting:
        kind = waiting.pop()
        if kind.__module__.endswith(".requests"):
            found.add(kind)
            waiting += kind.__subclasses__()
    return found


def _parameters(method: str) -> Iterator[type[BaseModel]]:
    client, name = method.split(".")
    called = getattr(getattr(alpaca, client, None), name, None)
    hints = {} if called is None else typing.get_type_hints(called)
    hints.pop("return", None)
    for hint in hints.values():
        for kind in (hint, *typing.get_args(hint)):
            if inspect.isclass(kind) and issubclass(kind, BaseModel):
                yield kind


def fields(kinds: set[type[BaseModel]]) -> set[str]:
    """Return the fields of requests; one that a request inherits from another counts once."""
    return {
        f"{kind.__name__}.{name}"
        for kind in kinds
        for name in kind.model_fields
        if not any(base in kinds and name in base.model_fields for base in kind.__mro__[1:])
    }


def rows(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (heading above, cells) of every row of a table that says whether it is offered."""
    heading = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if "yes" in cells[1:3] or "no" in cells[1:3]:
            yield heading, cells


def read(text: str) -> tuple[Offer, Offer]:
    """Return what the page says of methods and of fields; nothing is said twice."""
    said: tuple[Offer, Offer] = ({}, {})
    for heading, cells in rows(text):
        of_field = heading == "Fields of requests"
        owner = NAME.findall(cells[0])[0] if of_field else heading
        names = NAME.findall(cells[1] if of_field else cells[0])
        for name in names:
            key = f"{owner}.{name}"
            assert key not in said[of_field], f"{key} has two lines"
            said[of_field][key] = cells[2 if of_field else 1] == "yes"
    return said


def faults(text: str, promised: dict[str, set[str]]) -> list[str]:
    """Return what does not fit, in words."""
    said_methods, said_fields = read(text)
    found = []
    for said, there in (
        (said_methods, methods()),
        (said_fields, fields(request_types(said_methods))),
    ):
        found += [f"{name} has no line" for name in sorted(there - said.keys())]
        found += [f"{name} is not in alpaca-py" for name in sorted(said.keys() - there)]
        for name, offered in said.items():
            if name not in promised["offers" if offered else "refuses"]:
                found.append(f"no test {'calls' if offered else 'is refused'} {name}")
    every = said_methods | said_fields
    found += [f"{name} is tested but not offered" for name in promised["offers"] - every.keys()]
    return found


def test_the_page_the_tests_and_the_client_agree() -> None:
    assert faults(PAGE.read_text(encoding="utf-8"), promises()) == []


def test_what_does_not_fit_is_found() -> None:
    text = PAGE.read_text(encoding="utf-8")
    without = text.replace("| `get_clock` | yes |", "| `get_watch` | yes |")
    assert faults(without, promises()) == [
        "TradingClient.get_clock has no line",
        "TradingClient.get_watch is not in alpaca-py",
        "no test calls TradingClient.get_watch",
        "TradingClient.get_clock is tested but not offered",
    ]
    refused = text.replace("| `get_clock` | yes |", "| `get_clock` | no |")
    assert faults(refused, promises()) == ["no test is refused TradingClient.get_clock"]
    promised = promises()
    promised["offers"] -= {"GetOrdersRequest.side", "TradingClient.get_account"}
    assert faults(text, promised) == [
        "no test calls TradingClient.get_account",
        "no test calls GetOrdersRequest.side",
    ]
    fewer = text.replace("`nested`, `side`, `symbols`", "`nested`, `symbols`")
    assert faults(fewer, promises()) == [
        "GetOrdersRequest.side has no line",
        "GetOrdersRequest.side is tested but not offered",
    ]
