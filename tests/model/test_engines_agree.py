"""The compiled engine does exactly what the readable one does, command by command.

MADANG_SEED chooses another stream, MADANG_COMMANDS another length; `make soak` runs millions.
"""

from __future__ import annotations

import os
import sys

import pytest

from madang.exchange.engine import levels, matching, money
from madang.exchange.engine.port import Engine
from madang.exchange.engine.python import PythonEngine
from madang.exchange.engine.snapshot import SnapshotError
from madang.wire.batch import HEADER_BYTES, encode_batch
from madang.wire.codes import PPM, CloseReason, OrderEvent, Reason
from madang.wire.commands import NO_REQUEST, encode_create_account
from tests.support.agreement import Run, RunSettings
from tests.support.commands import generate

madang_core = pytest.importorskip("madang_core", reason="the compiled engine is not installed")
from madang.exchange.engine import rust  # noqa: E402  (only where the compiled engine is)

SEED = int(os.environ.get("MADANG_SEED", "20251"))
COMMANDS = int(os.environ.get("MADANG_COMMANDS", "200000"))
PLANTED_COMMANDS = 20_000


def batch_of(*records: bytes, sequence: int = 1, now_ns: int = 1) -> bytes:
    return encode_batch(
        b"".join(records), len(records), term=1, sequence=sequence, now_ns=now_ns, rules_version=1
    )


@pytest.mark.timeout(300)
def test_events_and_hashes_are_equal() -> None:
    sys.stdout.write(f"MADANG_SEED={SEED} MADANG_COMMANDS={COMMANDS}\n")
    run = Run(RunSettings(SEED, COMMANDS), PythonEngine(), rust.create())
    assert run.disagreement() is None
    if COMMANDS >= 100_000:
        assert set(run.coverage.reasons) == {int(reason) for reason in Reason}
        assert set(run.coverage.order_events) == {int(event) for event in OrderEvent}
        assert set(run.coverage.endings) == {int(reason) for reason in CloseReason}
        assert run.coverage.repeats > 0


def test_each_engine_goes_on_from_the_others_snapshot() -> None:
    sys.stdout.write(f"MADANG_SEED={SEED + 1}\n")
    restores = (PythonEngine.restore, rust.restore)
    settings = RunSettings(SEED + 1, 20_000, check_every=500, restores=restores)
    assert Run(settings, PythonEngine(), rust.create()).disagreement() is None


def newest_first(level: levels.Level[object]) -> object:
    return next(reversed(level.orders.values()))


def paid_down(value: int, fee_value: int) -> int:
    return (value * PPM + fee_value) // 10**13


def stops_from_the_close(instrument: object, traded: object, triggered: object) -> None:
    """Leave all stops where they are."""


@pytest.mark.parametrize(
    ("place", "name", "bug"),
    [
        (levels.Level, "head", newest_first),
        (money, "paid", paid_down),
        (matching, "_collect_stops", stops_from_the_close),
    ],
    ids=["newest order first", "buyers round down", "stops never trigger"],
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, bug: object
) -> None:
    monkeypatch.setattr(place, name, bug)
    run = Run(RunSettings(SEED, PLANTED_COMMANDS), rust.create(), PythonEngine())
    found = run.disagreement()
    assert found is not None
    assert found.sequence <= PLANTED_COMMANDS
    assert found.left != found.right


@pytest.mark.parametrize("engine", [PythonEngine(), rust.create()], ids=["python", "rust"])
def test_a_batch_out_of_order_changes_nothing(engine: Engine) -> None:
    record = encode_create_account(NO_REQUEST, b"one")
    engine.apply(batch_of(record, now_ns=5))
    before = engine.snapshot()
    for wrong in (
        batch_of(record, sequence=1, now_ns=6),
        batch_of(record, sequence=3, now_ns=6),
        batch_of(record, sequence=2, now_ns=5),
    ):
        with pytest.raises(AssertionError):
            engine.apply(wrong)
    assert engine.snapshot() == before


def test_bytes_that_are_not_a_batch_are_refused_by_name() -> None:
    engine = rust.create()
    good = batch_of(encode_create_account(NO_REQUEST, b"one"))
    before = engine.snapshot()
    with pytest.raises(ValueError, match="magic"):
        engine.apply(b"x" * len(good))
    with pytest.raises(ValueError, match="cut"):
        engine.apply(good[: HEADER_BYTES - 1])
    with pytest.raises(ValueError, match="length"):
        engine.apply(good[:-8])
    with pytest.raises(ValueError, match="length of a command"):
        engine.apply(good[:HEADER_BYTES] + b"\x00" + good[HEADER_BYTES + 1 :])
    assert engine.snapshot() == before
    assert engine.apply(good)


def test_a_damaged_snapshot_is_refused_wherever_it_is_cut() -> None:
    engine = rust.create()
    for _ in generate(SEED, 300, engine):
        pass
    snapshot = engine.snapshot()
    assert rust.restore(snapshot).state_hash() == engine.state_hash()
    for length in [*range(400), *range(400, len(snapshot), 41)]:
        with pytest.raises(SnapshotError):
            rust.restore(snapshot[:length])
    with pytest.raises(SnapshotError):
        rust.restore(snapshot + bytes(8))
