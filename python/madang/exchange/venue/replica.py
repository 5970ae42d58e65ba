"""How the venue's parts get an engine: a new one, or one from a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from madang.exchange import engine as engines
from madang.exchange.engine.port import Engine


class EngineFactory(Protocol):
    """Makes engines of one implementation."""

    def create(self) -> Engine:
        """Return an empty engine."""
        ...

    def restore(self, snapshot: bytes) -> Engine:
        """Return the engine that gave `snapshot`."""
        ...


class _Restorable(Protocol):
    @classmethod
    def restore(cls, snapshot: bytes) -> Engine: ...


EngineMaker = Callable[[], Engine]


class _Chosen:
    def __init__(self, kind: str) -> None:
        self._kind = kind

    def create(self) -> Engine:
        return engines.create(self._kind)

    def restore(self, snapshot: bytes) -> Engine:
        return engines.restore(snapshot, self._kind)


class _Made:
    def __init__(self, maker: EngineMaker) -> None:
        self._maker = maker

    def create(self) -> Engine:
        return self._maker()

    def restore(self, snapshot: bytes) -> Engine:
        kind: type[_Restorable] = type(self._maker())  # type: ignore[assignment]
        return kind.restore(snapshot)


def engine_factory(kind: str) -> EngineFactory:
    """Return the factory of engine "rust", "python" or "auto"."""
    engines.engine_name(kind)
    return _Chosen(kind)


def factory_of(maker: EngineMaker) -> EngineFactory:
    """Return a factory of what `maker` makes; its class restores snapshots."""
    return _Made(maker)
