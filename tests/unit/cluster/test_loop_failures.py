"""A callback that fails is told of, and everything else goes on."""

from __future__ import annotations

import time

from madang.cluster.loop import Loop


def test_one_that_fails_ends_nothing_else() -> None:
    loop = Loop()
    told: list[Exception] = []
    called: list[str] = []
    loop.on_failure = told.append

    def fails() -> None:
        raise ZeroDivisionError

    now_ns = time.monotonic_ns()
    loop.every(1, fails)
    loop.at(now_ns, lambda: called.append("other"))
    while len(told) < 2:
        loop.call(loop.wait(loop.next_ns()))
    loop.close()
    assert {type(error) for error in told} == {ZeroDivisionError}
    assert called == ["other"]
