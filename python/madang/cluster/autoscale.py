"""How many instances an application should have: pure, with hysteresis.

Too much for `up_after_ms` adds one; too little for `down_after_ms` takes one away, but only if the
rest could carry the load and stay below the upper mark, so that it does not come back at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from madang.cluster.policy import MS
from madang.cluster.settings import AutoscaleSettings


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured: mean CPU of the ready instances in percent, worst lag of their loops."""

    cpu_percent: float
    lag_ms: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """Since when it has been too much, or too little; None while it is neither."""

    high_since_ns: int | None = None
    low_since_ns: int | None = None


def step(
    scaling: Scaling, load: Load, instances: int, now_ns: int, limits: AutoscaleSettings
) -> tuple[Scaling, int]:
    """Return what to remember, and how many instances are wanted."""
    bounded = max(limits.minimum, min(limits.maximum, instances))
    if bounded != instances:
        return Scaling(), bounded
    high = load.cpu_percent > limits.cpu_high_percent or load.lag_ms > limits.lag_high_ms
    rest = max(instances - 1, 1)
    low = not high and load.cpu_percent * instances / rest < limits.cpu_low_percent
    found = Scaling(
        _since(high, scaling.high_since_ns, now_ns), _since(low, scaling.low_since_ns, now_ns)
    )
    if _lasted(found.high_since_ns, now_ns, limits.up_after_ms) and instances < limits.maximum:
        return replace(found, high_since_ns=now_ns), instances + 1
    if _lasted(found.low_since_ns, now_ns, limits.down_after_ms) and instances > limits.minimum:
        return replace(found, low_since_ns=now_ns), instances - 1
    return found, instances


def _since(is_so: bool, before_ns: int | None, now_ns: int) -> int | None:
    if not is_so:
        return None
    return now_ns if before_ns is None else before_ns


def _lasted(since_ns: int | None, now_ns: int, limit_ms: int) -> bool:
    return since_ns is not None and now_ns - since_ns >= limit_ms * MS
