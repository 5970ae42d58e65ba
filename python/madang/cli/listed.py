"""Which of what is listed `madang start` is to start again: names, or `all`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from madang.cli import daemon
from madang.cli.asking import Answer, ask
from madang.cli.place import CONTROL, runtime_dir
from madang.core.errors import SettingsError

ALL = "all"
AT_REST = frozenset({"idle", "stopped", "errored"})


def find_listed(state_dir: Path, words: Sequence[str]) -> list[str] | None:
    """Return the listed names that `words` are, None where the first is none: it is a target.

    `all` is every application of which an instance is at rest. Raises NotRunning for it where
    nothing runs.
    """
    if ALL in words:
        return _at_rest(ask(runtime_dir(state_dir) / CONTROL, "ls"))
    if not (runtime_dir(state_dir) / CONTROL).exists() or not daemon.is_running(state_dir):
        return None
    answer = ask(runtime_dir(state_dir) / CONTROL, "ls")
    known = {found["name"] for found in [*answer["rows"], *answer["applications"]]}
    return list(words) if known.issuperset(words) else None


def refuse_unlisted(state_dir: Path, words: Sequence[str]) -> None:
    """Refuse words of which the first is listed and another is not. Raises SettingsError."""
    known = [word for word in words if find_listed(state_dir, [word])]
    if words[0] in known and len(known) < len(words):
        unknown = next(word for word in words if word not in known)
        text = f"nothing of that name is listed, as {', '.join(known)} is"
        raise SettingsError("start", unknown, text)


def _at_rest(answer: Answer) -> list[str]:
    resting = {row["app"] for row in answer["rows"] if row["state"] in AT_REST}
    return [found["name"] for found in answer["applications"] if found["name"] in resting]
