"""Whether a silent process is hung, or only has not had its turn. Pure.

A loop that waits for the interpreter (a thread computes in C and does not let go) wakes every 5 ms
to ask for it, so its main thread goes to sleep some 200 times a second; a loop stuck in a call, a
lock or an endless computation does not. A thread that waits for a processor is counted by the
kernel. Such time is excused, the rest is silence.
"""

from __future__ import annotations

ASKING_PER_S = 40
"""From this many sleeps a second on the main thread is asking for the interpreter."""
SECOND_NS = 1_000_000_000

Waits = tuple[int, int]
"""How often the main thread went to sleep, and for how many ns it waited for a processor."""


def excused_ns(before: Waits, after: Waits, span_ns: int) -> int:
    """Return how much of `span_ns` between two looks at a silent process is excused."""
    asked = after[0] - before[0]
    if asked * SECOND_NS >= ASKING_PER_S * span_ns:
        return span_ns
    return max(0, min(span_ns, after[1] - before[1]))
