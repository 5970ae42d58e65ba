"""Which tests speak for which method, or field of a request, of the unmodified alpaca-py.

`@offers("TradingClient.get_account")` promises that the test makes the real method return;
`@refuses(...)` that it makes it end in an APIError. Both are found out by looking on while the test
runs, so a promise that is not kept is red. A field (`"GetOrdersRequest.side"`) counts as used when
a request that has it was turned into what is sent. `promises` reads them without running anything.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from tests.support import alpaca
from tests.support.alpaca import APIError

E2E = Path(__file__).parents[1] / "e2e"
CLIENTS = (
    alpaca.TradingClient,
    alpaca.StockHistoricalDataClient,
    alpaca.ScreenerClient,
    alpaca.TradingStream,
    alpaca.StockDataStream,
)
Test = Callable[..., object]


def offers(*names: str) -> Callable[[Test], Test]:
    """Promise that a test has each of these answered."""
    return functools.partial(_promising, names, False)


def refuses(*names: str) -> Callable[[Test], Test]:
    """Promise that a test has each of these refused."""
    return functools.partial(_promising, names, True)


def _promising(names: tuple[str, ...], refused: bool, test: Test) -> Test:
    @functools.wraps(test)
    def run(*arguments: object, **named: object) -> None:
        with ExitStack() as stack:
            seen = {name: stack.enter_context(_look_on(name, refused)) for name in names}
            test(*arguments, **named)
        assert [name for name, outcomes in seen.items() if not outcomes] == []

    return run


@contextmanager
def _look_on(name: str, refused: bool) -> Iterator[list[bool]]:
    """Yield a list that gets an entry whenever the method ends, or the field is sent."""
    class_name, _, member = name.partition(".")
    owner: Any = getattr(alpaca, class_name)
    method = None if owner in CLIENTS else "model_dump"
    original = inspect.getattr_static(owner, method or member)
    seen: list[bool] = []

    def spy(self: object, *arguments: object, **named: object) -> object:
        try:
            answer = original(self, *arguments, **named)
        except APIError:
            if refused and not method:
                seen.append(True)
            raise
        if method:
            if getattr(self, member) is not None:
                seen.append(True)
        elif not refused:
            seen.append(True)
        return answer

    with mock.patch.object(owner, method or member, functools.wraps(original)(spy)):
        yield seen


def promises() -> dict[str, set[str]]:
    """Return what the tests promise: `offers` and `refuses`, each with its names."""
    found: dict[str, set[str]] = {"offers": set(), "refuses": set()}
    for path in sorted(E2E.glob("test_alpaca_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name):
                        names = found.get(decorator.func.id)
                        if names is not None:
                            names |= {ast.literal_eval(name) for name in decorator.args}
    return found
