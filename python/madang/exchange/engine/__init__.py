"""The matching engine: one specification, one readable implementation, one fast one.

`create` and `restore` choose: "rust" is the compiled `madang_core` or an error that says how to get
it, "python" the readable engine of this package, "auto" the compiled one where it is installed.
"""

from __future__ import annotations

import importlib.util

from madang.core.errors import MadangError
from madang.exchange.engine.port import Engine
from madang.exchange.engine.python import PythonEngine

__all__ = ["Engine", "EngineMissing", "create", "engine_name", "restore"]

_CORE = "madang_core"


class EngineMissing(MadangError):
    """The engine that was asked for is not installed, or nobody knows its name."""


def engine_name(kind: str = "auto") -> str:
    """Return which engine `kind` means here: "rust" or "python"."""
    if kind not in ("auto", "rust", "python"):
        raise EngineMissing(f"engine {kind!r}: expected auto, rust or python", kind=kind)
    installed = importlib.util.find_spec(_CORE) is not None
    if kind == "rust" and not installed:
        raise EngineMissing(
            "engine 'rust' needs the compiled package madang-core, which is not installed: "
            "install it, or set the engine to 'auto' or 'python'",
            kind=kind,
        )
    if kind == "python" or not installed:
        return "python"
    return "rust"


def create(kind: str = "auto") -> Engine:
    """Return an empty engine."""
    if engine_name(kind) == "python":
        return PythonEngine()
    from madang.exchange.engine import rust  # only where the compiled package is installed

    return rust.create()


def restore(snapshot: bytes, kind: str = "auto") -> Engine:
    """Return an engine in the state of a snapshot; SnapshotError when the bytes are damaged."""
    if engine_name(kind) == "python":
        return PythonEngine.restore(snapshot)
    from madang.exchange.engine import rust  # only where the compiled package is installed

    return rust.restore(snapshot)
