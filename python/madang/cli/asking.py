"""Ask the supervisor and tell the person: answers, refusals, and operations as they go on.

Exit codes: 0 done, 1 refused or failed with the reason printed, 2 wrong usage, 3 nothing runs here.
With `--json` the answer, or `{"error": ...}`, is one JSON object on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from madang.cluster.control import request
from madang.cluster.errors import ControlRefused, NotRunning
from madang.core.errors import MadangError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_RUNNING = 3
POLL_FIRST_S = 0.01
POLL_S = 0.1

Answer = dict[str, Any]
Say = Callable[[str], None]


def ask(path: Path, command: str, **more: object) -> Answer:
    """Ask one question. Raises NotRunning, ControlRefused."""
    return request(path, {"command": command, **more})


def begin(path: Path, command: str, **more: object) -> int:
    """Begin an operation and return its number. Raises NotRunning, ControlRefused."""
    return int(ask(path, command, **more)["operation"])


def follow(path: Path, number: int, say: Say) -> Answer:
    """Wait until an operation has ended, with its steps said as they come; return it."""
    told = 0
    pause_s = POLL_FIRST_S
    while True:
        found = ask(path, "operation", id=number)
        steps = found["steps"]
        running = found["state"] == "running"
        # The last step of an ended operation repeats its outcome, which is printed apart.
        for step in steps[told:] if running else steps[told:-1]:
            say(f"  {step['text']}")
        told = max(told, len(steps) if running else len(steps) - 1)
        if not running:
            return found
        time.sleep(pause_s)
        pause_s = min(POLL_S, pause_s * 2)


def outcome(found: Mapping[str, Any]) -> str:
    """Return how an operation ended, in words for a person."""
    state = str(found["state"]).replace("_", " ")
    text = f"{found['kind']} {found['name']}: {state}"
    return f"{text}: {found['reason']}" if found["reason"] else text


def print_outcome(found: Mapping[str, Any]) -> None:
    """Print how an operation ended, and of several names what became of each."""
    ends: list[Mapping[str, Any]] = [{**found, **one} for one in found.get("outcomes", ())]
    if ends:
        failed = sum(one["state"] != "done" for one in ends)
        ends.append({**found, "reason": f"{failed} of {len(ends)}" if failed else ""})
    for one in ends or [found]:
        good = one["state"] in ("done", "running")
        print(outcome(one), file=sys.stdout if good else sys.stderr, flush=True)


def refusal(command: str, name: str, reason: str) -> Answer:
    """Return what an operation looks like that could not even begin."""
    ended: Answer = {"id": None, "kind": command, "name": name, "state": "failed", "steps": []}
    return {**ended, "reason": reason, "outcomes": []}


def operate(path: Path, command: str, names: list[str], *, as_json: bool, **more: object) -> int:
    """Carry `command` out on one name after the other; print and return the exit code.

    Of several one that fails does not keep the others from their turn.
    """
    ended: list[Answer] = []
    say = silent if as_json else print_line

    def each(name: str) -> Answer:
        try:
            return follow(path, begin(path, command, name=name, **more), say)
        except ControlRefused as error:
            if len(names) == 1:
                raise
            return refusal(command, name, error.message)

    def work() -> Answer:
        for name in names:
            ended.append(each(name))
            if not as_json:
                print_outcome(ended[-1])
        return {"operations": ended}

    code = tell(work, as_json=as_json, render=lambda _: "")
    failed = any(found["state"] != "done" for found in ended)
    return EXIT_FAILED if code == EXIT_OK and failed else code


def tell(work: Callable[[], Answer], *, as_json: bool, render: Callable[[Answer], str]) -> int:
    """Do `work` and print its answer; a failure is one line, and the exit code says which."""
    try:
        answer = work()
    except MadangError as error:
        return tell_error(error, as_json=as_json)
    text = json.dumps(answer) if as_json else render(answer)
    if text:
        print(text, flush=True)
    return EXIT_OK


def tell_error(error: MadangError, *, as_json: bool) -> int:
    """Print why something could not be done; return the exit code."""
    if as_json:
        print(json.dumps({"error": error.message}), flush=True)
    else:
        print(error.message, file=sys.stderr, flush=True)
    return EXIT_NOT_RUNNING if isinstance(error, NotRunning) else EXIT_FAILED


def print_line(text: str) -> None:
    """Say one line to a person."""
    print(text, flush=True)


def silent(text: str) -> None:
    """Say nothing: the answer has it all."""
